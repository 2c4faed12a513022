"""The exports of the runner's other form: an actor whose calls interleave."""

from typing import Any

from wit_world import exports

from engine import _guest, _guest_concurrent


class ProgramAsync(exports.ProgramAsync):
    """The program of the guest interface, for calls that interleave."""

    async def main(self, invocation: Any, arguments: list[str]) -> Any:
        return await _guest_concurrent.main(invocation, arguments)

    async def run(self, invocation: Any, function: str, arguments: list[Any]) -> Any:
        return await _guest_concurrent.run(invocation, function, arguments)

    async def create(self, invocation: Any, class_: str, arguments: list[Any]) -> None:
        await _guest_concurrent.create(invocation, class_, arguments)

    async def call(self, invocation: Any, method: str, arguments: list[Any]) -> Any:
        return await _guest_concurrent.call(invocation, method, arguments)


_guest.prepare()
_guest_concurrent.install()
