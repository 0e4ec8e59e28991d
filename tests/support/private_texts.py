"""The forms in which something may quote what is private."""

from collections.abc import Mapping


def quotes_of(secret: str) -> Mapping[str, str]:
    """Return a text for each form, by what is left of it without the secret, which is of letters, digits and dashes."""
    pem = f"-----BEGIN RSA PRIVATE KEY-----\n{secret}\nMIIE\n-----END RSA PRIVATE KEY-----"
    return {
        "to (removed), please": f"to {secret}@example.com, please",
        "/tenants/(removed)": f"/tenants/{secret}%40example.com",
        "with Bearer (removed)": f"with Bearer {secret}",
        "with BEARER (removed)": f"with BEARER {secret}",
        "Authorization: (removed)": f"Authorization: Basic {secret}==",
        '{"authorization": "(removed)"}': f'{{"authorization": "{secret}"}}',
        "SharedKey (removed)": f"SharedKey account:{secret}/+=",
        "token (removed) refused": f"token eyJ{secret}.eyJ{secret}.{secret} refused",
        "AccountKey=(removed);AccountName=a": f"AccountKey={secret}==;AccountName=a",
        "SharedAccessKeyName=a;SharedAccessKey=(removed)": f"SharedAccessKeyName=a;SharedAccessKey={secret}=",
        "GET /?code=(removed)&a=b": f"GET /?code={secret}&a=b",
        "GET /?Code=(removed)": f"GET /?Code={secret}",
        "GET /?a=b&sig=(removed)": f"GET /?a=b&sig={secret}%3D",
        "x-functions-key: (removed)": f"x-functions-key: {secret}",
        "Server=a;Password=(removed);": f"Server=a;Password={secret};",
        '{\\"password\\": \\"(removed)\\"}': f'{{\\"password\\": \\"{secret}\\"}}',
        '{"password": "(removed)", "a": 1}': f'{{"password": "of \\"{secret}\\" and {secret}", "a": 1}}',
        "password='(removed)' is wrong": f"password='{secret} {secret}' is wrong",
        "authorization=(removed)": f"authorization=Token {secret}",
        "client_secret=(removed)&grant_type=a": f"client_secret={secret}&grant_type=a",
        "key (removed) read": f"key {pem} read",
        "key (removed)": f"key {pem[:60]}",
    }
