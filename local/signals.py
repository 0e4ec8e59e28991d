"""What stops a command, however it was started. Standard library only: the set-up uses it too."""

import signal


def interrupt_on_signals() -> None:
    """Let SIGINT, SIGTERM and SIGHUP raise KeyboardInterrupt, so that each ends this process as Ctrl-C does.

    A script's `&` starts a process with SIGINT ignored; Python leaves it so, and every child would inherit it. SIGHUP
    stays ignored where `nohup` made it so, which is what it is for.
    """
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.default_int_handler)
