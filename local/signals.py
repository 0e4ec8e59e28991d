"""What stops a command, however it was started. Standard library only: the set-up uses it too."""

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def interrupt_on_signals() -> None:
    """Let SIGINT, SIGTERM and SIGHUP raise KeyboardInterrupt, so that each ends this process as Ctrl-C does.

    A script's `&` starts a process with SIGINT ignored; Python leaves it so, and every child would inherit it. SIGHUP
    stays ignored where `nohup` made it so, which is what it is for.
    """
    for name in STOPPING:
        if name != signal.SIGHUP or signal.getsignal(name) is not signal.SIG_IGN:
            signal.signal(name, signal.default_int_handler)


async def cancelled_on_signals[R](work: Coroutine[Any, Any, R]) -> R:
    """Await something, and cancel it on the signals of `interrupt_on_signals`, which must have been called.

    An exception that a signal raised would come up wherever the event loop is just then, and nothing would be closed in
    order.
    """
    task = asyncio.current_task()
    assert task is not None
    for name in STOPPING:
        if signal.getsignal(name) is not signal.SIG_IGN:
            asyncio.get_running_loop().add_signal_handler(name, task.cancel)
    return await work
