r"""A small interpreter for the update equations that the book displays: LaTeX in, numbers out.

It knows what the equations use and no more; anything else is an error, so that no equation goes by unread.
Names are looked up as they are written, with spaces taken out: `\mu_{t+1}`, `\hat m`, `P_{t}`.
"""

import re

import numpy as np

TOKEN = re.compile(r"\\[A-Za-z]+|\d*\.?\d+|[A-Za-z]|[-+^_(){}|,/]")
IGNORED = {"\\left", "\\right", "\\displaystyle", "\\quad", "\\qquad"}
ACCENTS = {"\\hat", "\\bar"}


def tokens(latex):
    latex = re.sub(r"\\prod_\{i=1\}\^\{?([^{}]+?)\}?\s*\\mu_i", r"P_{\1}", latex)
    latex = re.sub(r"\\operatorname\{(\w+)\}", r"\\\1", latex)
    latex = re.sub(r"\\[,;!]|&|\s|~", " ", latex)
    found = [x for x in TOKEN.findall(latex) if x not in IGNORED]
    assert "".join(TOKEN.sub("", latex).split()) == "", f"not understood: {latex!r}"
    return found


class Parser:
    """Evaluates one expression in an environment of names and functions."""

    def __init__(self, latex, env):
        self.tokens, self.env = tokens(latex), env

    def value(self):
        result = self.sum()
        assert not self.tokens, f"left over: {self.tokens}"
        return result

    def peek(self):
        return self.tokens[0] if self.tokens else None

    def take(self, expected=None):
        token = self.tokens.pop(0)
        assert expected in (None, token), f"expected {expected}, found {token}"
        return token

    def sum(self):
        total = self.product()
        while self.peek() in ("+", "-"):
            total = total + self.product() if self.take() == "+" else total - self.product()
        return total

    def product(self):
        result = self.power()
        while self.peek() not in (None, "+", "-", ")", "}", ",", "|", "\\rvert"):
            if self.peek() == "/":
                self.take()
                result = result / self.power()
            else:
                if self.peek() == "\\cdot":
                    self.take()
                result = result * self.power()
        return result

    def power(self):
        base = self.base()
        if self.peek() == "^":
            self.take()
            return base ** self.group()
        return base

    def group(self):
        r"""What follows ^, \frac or \sqrt: braces, or one token."""
        if self.peek() == "{":
            self.take()
            result = self.sum()
            self.take("}")
            return result
        token = self.take()
        if token.isdigit():
            self.tokens[:0] = list(token[1:])  # \\tfrac12 is one half
            return float(token[0])
        return self.env[token]

    def arguments(self):
        self.take("(")
        result = [self.sum()]
        while self.peek() == ",":
            self.take()
            result.append(self.sum())
        self.take(")")
        return result

    def base(self):
        token = self.take()
        if token == "(":
            self.tokens.insert(0, "(")
            return self.arguments()[0]
        if token in ("|", "\\lvert"):  # a factor after another one needs the second: | would close what is open
            result = self.sum()
            self.take("|" if token == "|" else "\\rvert")
            return np.abs(result)
        if token in ("\\frac", "\\tfrac", "\\dfrac"):
            return self.group() / self.group()
        if token == "\\sqrt":
            return np.sqrt(self.group())
        if token == "\\max":
            return np.maximum(*self.arguments())
        if token == "\\nabla":
            self.take("f")
            return self.env["\\nabla f"](*self.arguments())
        if token == "\\root":
            return self.env["\\root"](*self.arguments())
        if token[0].isdigit() or token[0] == ".":
            return float(token)
        return self.env[self.name(token)]

    def name(self, token):
        if token in ACCENTS:
            braced = self.peek() == "{"
            inner = [self.take() for _ in range(3 if braced else 1)][1 if braced else 0]
            token = f"{token} {inner}"
        if self.peek() == "_":
            self.take()
            subscript = self.take()
            if subscript == "{":
                subscript = ""
                while self.peek() != "}":
                    subscript += self.take()
                self.take("}")
            token += "_{" + subscript + "}"
        return token


def assignments(latex):
    """(name, expression) of every ← in an equation, in order; lines and clauses both separate them."""
    body = re.sub(r"\\(begin|end)\{\w+\}|\\label\{.*?\}", " ", latex)
    lines = [part for line in re.split(r"\\\\(?:\[\w+\])?", body) for part in re.split(r",\s*(?:&|\\q?quad)", line)]
    pairs = []
    for line in lines:
        if line.strip():
            target, expression = re.split(r"\\leftarrow|=", line, maxsplit=1)
            parser = Parser(target, {})
            pairs.append((parser.name(parser.take()), expression))
    return pairs


def execute(latex, env):
    """Carry out an equation's assignments in `env`, which it changes."""
    for name, expression in assignments(latex):
        env[name] = Parser(expression.rstrip(" ,.\n"), env).value()
