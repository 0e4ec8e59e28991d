"""`python -m cli.monitoring`: write what is made of the queries."""

from cli.monitoring.generated import generated_files


def main() -> None:
    """Write each file that is made of the queries, alert rules and tabs."""
    for path, text in generated_files().items():
        path.write_text(text)


if __name__ == "__main__":
    main()
