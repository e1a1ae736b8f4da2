"""A string value inside a JSON object that is still being written: what of it is known so far.

Code that a model writes for a tool comes as pieces of the text of `{"code": "..."}`, cut anywhere: between a backslash
and its letter, between the halves of a surrogate pair. A `Growing` reads each character once and never raises: text
that is no JSON gives something or nothing, and whoever needs the value for sure parses the whole text at its end.
"""

from __future__ import annotations

import re

_PLAIN = re.compile(r'[^"\\]*')
_SIGN = re.compile(r'["{}\[\]:,]')
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|([^u]))", re.DOTALL)
_HALF = re.compile(r"\\(?:u[0-9a-fA-F]{0,3})?")
_MEANT = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


class Growing:
    """Feed it the pieces; each time it gives what is newly known of the string values of the members called `names`.

    Only members of the outermost object count; where several are asked for, their values follow one another.
    """

    def __init__(self, *names: str) -> None:
        self._names = frozenset(names)
        self._longest = max(map(len, names), default=0)
        self._depth = 0
        self._over = False  # nothing that follows counts
        self._value_next = False
        self._in_string = False
        self._told: list[str] = []  # of values, since it was last asked
        self._key: list[str] = []
        self._into: list[str] | None = None  # where the string that is being read goes
        self._half = ""  # an escape that is not yet complete
        self._high = ""  # a surrogate that waits for its other half

    def feed(self, piece: str) -> str:
        text, self._half = self._half + piece, ""
        at = 0
        while at < len(text) and not self._over:
            at = self._string(text, at) if self._in_string else self._between(text, at)
        told, self._told[:] = "".join(self._told), ()
        return told

    def _between(self, text: str, at: int) -> int:
        """Reads on to the next sign outside of strings, and past it."""
        found = _SIGN.search(text, at)
        if not found:
            return len(text)
        match found[0]:
            case '"':
                self._open()
            case ":" | ",":
                self._value_next = found[0] == ":" if self._depth == 1 else self._value_next
            case "{" | "[":
                self._over = self._depth == 0 and found[0] == "["
                self._depth += 1
            case _:
                self._depth -= 1
                self._over = self._depth <= 0
        return found.end()

    def _open(self) -> None:
        self._in_string, self._into = True, None
        if self._depth != 1:
            self._over = self._depth == 0
        elif not self._value_next:
            self._key = self._into = []
        elif "".join(self._key) in self._names:
            self._into = self._told

    def _string(self, text: str, at: int) -> int:
        """Reads on to the end of what is plain, or past one escape, or past the closing quote."""
        end = _PLAIN.match(text, at).end()  # type: ignore[union-attr]  # it matches everywhere
        if end > at:
            self._say(text[at:end])
        elif text[at] == '"':
            self._say("")
            self._in_string = False
            return at + 1
        else:
            return self._escape(text, at)
        return end

    def _escape(self, text: str, at: int) -> int:
        found = _ESCAPE.match(text, at)
        if found is None:
            if _HALF.fullmatch(text, at):
                self._half = text[at:]
                return len(text)
            return at + 2  # a `\u` that says nothing
        if found[1]:
            self._unit(int(found[1], 16))
        else:
            self._say(_MEANT.get(found[2], found[2]))
        return found.end()

    def _unit(self, unit: int) -> None:
        """One unit of UTF-16: halves of a pair are joined, a lone half stays one, as `json` has it."""
        if self._high and 0xDC00 <= unit < 0xE000:
            high, self._high = ord(self._high), ""
            self._say(chr(0x10000 + ((high - 0xD800) << 10) + unit - 0xDC00))
        elif 0xD800 <= unit < 0xDC00:
            self._say("")
            self._high = chr(unit)
        else:
            self._say(chr(unit))

    def _say(self, text: str) -> None:
        said, self._high = self._high + text, ""
        if self._into is self._key and len(self._key) > self._longest:
            return  # a name longer than any that is asked for is not kept
        if self._into is not None and said:
            self._into.append(said)
