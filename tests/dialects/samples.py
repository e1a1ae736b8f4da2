"""Code that has to survive a wire format unchanged."""

from __future__ import annotations

CODES = {
    "plain": "print(1)",
    "empty": "",
    "one empty line": "\n",
    "empty lines around": "\n\nprint(1)\n\n",
    "spaces": "  \n\tif x:\n   pass  \n   ",
    "windows": "a = 1\r\nprint(a)\r\n",
    "old mac": "a = 1\rprint(a)",
    "other line ends": "a\x0bb\x0cc\x1cd\x85e\u2028f\u2029g",
    "unicode": "print('\N{SNOWMAN} é \N{GRINNING FACE} \u202e')",
    "lone surrogates": "'\ud800' + '\udfff\ud800'",
    "nul": "a\0b",
    "escapes": "print('\\n', \"\\\"\", r'\\d', '{x}', '%s', '$x')",
    "inline backticks": "`a` ``b`` ```c```",
    "a fence of two": "``\nx\n``",
    "a fence": '"""\n```python\nprint(1)\n```\n"""',
    "a fence at the end": "x\n```",
    "only a fence": "```",
    "a fence with spaces": "```   \n ```\n\t```",
    "a long fence": "`" * 40 + "\n" + "`" * 41,
    "a fence and returns": "```\r\n```\r",
    "tildes": "~~~\nx\n~~~",
    "server-sent": "data: x\n\nevent: y\n: z\n",
    "heredoc": "cat <<'EOF'\nEOF\nEOF_",
    "large": "x = 1  # ü\n" * 20_000,
}
