"""The component's exports: what `engine._guest` makes of the calls that the host makes."""

from typing import Any

from wit_world import exports

from engine import _guest


class Program(exports.Program):
    """The program of the guest interface."""

    def main(self, invocation: Any, arguments: list[str]) -> Any:
        return _guest.main(invocation, arguments)

    def run(self, invocation: Any, function: str, arguments: list[Any]) -> Any:
        return _guest.run(invocation, function, arguments)

    def create(self, invocation: Any, class_: str, arguments: list[Any]) -> None:
        _guest.create(invocation, class_, arguments)

    def call(self, invocation: Any, method: str, arguments: list[Any]) -> Any:
        return _guest.call(invocation, method, arguments)


_guest.prepare()
