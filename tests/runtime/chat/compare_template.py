#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Renders known templates with random messages, and random templates, with jinja2 and with ours, and compares.

What jinja2 renders we render equally or refuse saying "not supported" (rarely: the share is checked); what it refuses we refuse.
Every character of a message is private to it in one run, which checks the marks on the user's text.
"""
import json
import pathlib
import random
import subprocess
import sys
import unicodedata

import jinja2
import jinja2.ext
import jinja2.sandbox

DATA = pathlib.Path(__file__).resolve().parents[2] / "data" / "chat"
TOKENS = ["<|im_start|>", "<|im_end|>", "<role>", "</role>", "<|role_end|>", "<|mask|>", "<think>", "</think>", "{{", "{%", "#}"]
# What jinja2 gives a value for and we refuse: unsupported things, texts with addresses, complex powers, folded constants.
REFUSALS = ["not supported", "printing a", "iterator", "no real value", "cannot be sliced"]
SPACES = " \t\n\r\v\f\x1c\x1f\x85\xa0\u2003\u2028\u3000"


def environment():
    env = jinja2.sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[jinja2.ext.loopcontrols])

    def refuse(message):
        raise jinja2.exceptions.TemplateError(message)

    env.filters["tojson"] = lambda x, ensure_ascii=False, indent=None: json.dumps(x, ensure_ascii=ensure_ascii, indent=indent)
    env.globals["raise_exception"] = refuse
    return env


def random_text(rng):
    parts = []
    for _ in range(rng.choice([0, 1, 1, 2, 4, 8])):
        kind = rng.randrange(7)
        if kind == 0:
            parts.append(rng.choice(TOKENS))
        elif kind == 1:
            parts.append("".join(rng.choice(SPACES) for _ in range(rng.choice([1, 2, 40]))))
        elif kind == 2:
            parts.append("".join(chr(rng.randrange(1, 128)) for _ in range(rng.randrange(9))))
        elif kind == 3:
            parts.append("".join(known_character(rng) for _ in range(rng.randrange(6))))
        elif kind == 4:
            parts.append(rng.choice(["ΑΣ Σ.ΟΔΟΣ", "straße ﬁ ŉ İ", "ǆǅ", "it's O'Neil-x", "1_000", " 42 ", "3.7", "日本語", "👩‍👧", "e\u0301"]))
        else:
            parts.append("".join(rng.choice("aAbB cé.,-'\"\\\n<&") for _ in range(rng.randrange(12))))
    return "".join(parts)


def known_character(rng):
    while True:
        c = chr(rng.randrange(0x110000) if rng.random() < 0.3 else rng.randrange(0x3000))
        if unicodedata.category(c) not in ("Cs", "Cn", "Co"):
            return c


def random_messages(rng):
    count = rng.choice([0, 1, 1, 2, 3, 5, 9])
    roles = ["system", "user", "assistant", "user", "assistant", "tool", "User", "  "]
    messages = [{"role": rng.choice(roles), "content": random_text(rng)} for _ in range(count)]
    if rng.random() < 0.6:
        for i, message in enumerate(messages):
            message["role"] = ["user", "assistant"][i % 2]
        if rng.random() < 0.5 and messages:
            messages.insert(0, {"role": "system", "content": random_text(rng)})
    for message in messages:
        if rng.random() < 0.05:
            message["content"] = rng.choice([None, 3, [{"type": "text", "text": random_text(rng)}], True, 2.5])
        if rng.random() < 0.05:
            message["tool_calls"] = [{"function": {"name": random_text(rng), "arguments": {"x": [1, 2.0, None, random_text(rng)]}}}]
        if rng.random() < 0.05:
            message["reasoning_content"] = random_text(rng)
    return messages


class Expressions:
    """Random expressions; most are well typed enough to give a value."""

    def __init__(self, rng):
        self.rng = rng

    def pick(self, *choices):
        return self.rng.choice(choices)

    def any(self, depth):
        return self.pick(self.text, self.text, self.number, self.sequence, self.truth, self.odd)(depth)

    def leaf(self):
        return self.pick("messages", "messages[0].content", "messages[-1]['role']", "x", "ns.a", "missing", "none", "true", "3", "2.5", "'a'",
                         "''", "[]", "{}", "()", "messages[0]", "0", "-1", "add_generation_prompt", "loop")

    def odd(self, depth):
        if depth <= 0:
            return self.leaf()
        kind = self.rng.randrange(9)
        a = lambda: self.any(depth - 1)
        if kind == 0:
            return f"({a()} {self.pick('+', '-', '*', '/', '//', '%', '**', '~', 'and', 'or')} {a()})"
        if kind == 1:
            return f"({a()} {self.pick('<', '<=', '==', '!=', '>', '>=', 'in', 'not in')} {a()})"
        if kind == 2:
            return f"({a()})[{a()}]"
        if kind == 3:
            return f"({a()}).{self.pick('role', 'content', 'upper', 'items', 'nothing', 'a', 'b')}"
        if kind == 4:
            return f"({a()})|{self.pick('trim', 'lower', 'upper', 'title', 'capitalize', 'length', 'tojson', 'first', 'last', 'list', 'string', 'int', 'float', 'reverse|list', 'items|list', 'abs', 'join', 'default(1)', 'd(2, true)', 'dictsort', 'tojson(indent=2)', 'indent(2)', 'indent(3, true, true)')}"
        if kind == 5:
            return f"({a()} is {self.pick('', 'not ')}{self.pick('defined', 'undefined', 'none', 'string', 'mapping', 'sequence', 'iterable', 'number', 'true', 'false', 'boolean', 'integer', 'float', 'odd', 'even', 'divisibleby 3', 'callable', 'eq 1', 'in [1, 2]')})"
        if kind == 6:
            return f"({a()} if {a()} else {a()})"
        if kind == 7:
            return f"[{a()}, {a()}]" if self.rng.random() < 0.5 else f"({a()}, {a()})"
        return "{'a': %s, 'b': %s}" % (a(), a())

    def text(self, depth):
        if depth <= 0:
            return self.pick("'abc'", "'A b-c\\n'", '"é\\u00df\\t"', "''", "messages[0].content", "messages[0].role", "' x '", "'a,b,,c'", "x|string")
        t = lambda: self.text(depth - 1)
        kind = self.rng.randrange(10)
        if kind == 0:
            return f"({t()} + {t()})"
        if kind == 1:
            return f"({t()} ~ {self.any(depth - 1)})"
        if kind == 2:
            return f"({t()})[{self.index()}:{self.index()}{self.pick('', ':', ':2', ':-1', ':-3')}]"
        if kind == 3:
            return f"({t()})|{self.pick('trim', 'lower', 'upper', 'title', 'capitalize', 'reverse', 'tojson', 'trim(' + repr('ab ') + ')', 'indent', 'default(' + repr('z') + ')')}"
        if kind == 4:
            return f"({t()})|replace({t()}, {t()}{self.pick('', ', 1')})"
        if kind == 5:
            return f"({t()}).{self.pick('strip()', 'lstrip()', 'rstrip()', 'upper()', 'lower()', 'title()', 'capitalize()', 'strip(' + repr('a b') + ')')}"
        if kind == 6:
            return f"({self.sequence(depth - 1)})|join({t()})"
        if kind == 7:
            return f"({t()} * {self.number(0)})"
        if kind == 8:
            return f"({t()}).replace({t()}, {t()})"
        return f"({t()} if {self.truth(depth - 1)} else {t()})"

    def index(self):
        return self.pick("", "0", "1", "2", "-1", "-2", "5", "100", "-100")

    def number(self, depth):
        if depth <= 0:
            return self.pick("0", "1", "2", "3", "-4", "7", "10", "1.5", "-0.25", "1e3", "x", "true", "0x1F", "1_000")
        n = lambda: self.number(depth - 1)
        kind = self.rng.randrange(6)
        if kind < 3:
            return f"({n()} {self.pick('+', '-', '*', '/', '//', '%', '**')} {n()})"
        if kind == 3:
            return f"({self.pick(self.text, self.sequence)(depth - 1)})|{self.pick('length', 'count')}"
        if kind == 4:
            return f"({self.any(depth - 1)})|{self.pick('int', 'float', 'int(7)')}"
        return f"({self.pick('-', '+')}{n()})"

    def sequence(self, depth):
        if depth <= 0:
            return self.pick("messages", "[1, 2, 3]", "['a', 'B', 'c']", "(1, 'x')", "range(4)", "range(5, 0, -2)", "{'k': 1, 'j': [2]}", "'abc'", "[]")
        s = lambda: self.sequence(depth - 1)
        kind = self.rng.randrange(9)
        if kind == 0:
            return f"({s()} + {s()})"
        if kind == 1:
            return f"({s()})[{self.index()}:{self.index()}{self.pick('', ':2', ':-1')}]"
        if kind == 2:
            return f"({s()})|{self.pick('list', 'reverse|list', 'map(' + repr('upper') + ')|list', 'map(attribute=' + repr('role') + ')|list')}"
        if kind == 3:
            return f"({self.text(depth - 1)}).{self.pick('split()', 'split(' + repr(',') + ')', 'split(' + repr('b') + ', 1)', 'splitlines()', 'split(none, 1)')}"
        if kind == 4:
            return f"[{self.any(depth - 1)}, {self.any(depth - 1)}]"
        if kind == 5:
            return f"({s()})|{self.pick('select', 'reject')}({self.pick('', repr('string'), repr('defined'), repr('eq') + ', 2')})|list"
        if kind == 6:
            return f"messages|{self.pick('selectattr', 'rejectattr')}('role', 'equalto', {self.pick(repr('user'), repr('system'))})|list"
        if kind == 7:
            return "{'k': 1, 'j': 'y'}." + self.pick("items()", "keys()", "values()", "get('k')", "get('q', 3)") + self.pick("", "|list")
        return f"({s()})|list"

    def truth(self, depth):
        if depth <= 0:
            return self.pick("true", "false", "x", "messages", "missing is defined", "1 < 2 < 3", "'a' in 'abc'")
        a = lambda: self.any(depth - 1)
        return self.pick(f"(not {a()})", f"({a()} == {a()})", f"({self.number(depth - 1)} < {self.number(depth - 1)} >= {self.number(0)})",
                         f"({self.text(depth - 1)} in {self.text(depth - 1)})", f"({self.text(0)} < {self.text(0)})",
                         f"{self.text(depth - 1)} is string", f"(({self.text(0)}).startswith({self.text(0)}))")

    def tag(self, inside):
        return "{%" + self.pick("", "-", "+", "") + " " + inside + " " + self.pick("", "-", "", "+") + "%}"

    def output(self, inside):
        return "{{" + self.pick("", "-", "") + " " + inside + " " + self.pick("", "-", "") + "}}"

    def data(self):
        return "".join(self.pick(" ", "\n", "  \n", "text", "\t", "\n\n  ", "é", "{", "}", "%") for _ in range(self.rng.randrange(4)))

    def body(self, depth):
        return "".join(self.data() + self.statement(depth) for _ in range(self.rng.choice([1, 1, 2, 3]))) + self.data()

    def statement(self, depth):
        kind = self.rng.randrange(9) if depth > 0 else self.rng.randrange(3)
        if kind <= 1:
            return self.output(self.any(3))
        if kind == 2:
            return "{#" + self.pick("", "-") + " note " + self.pick("", "-") + "#}"
        if kind == 3:
            return self.tag("set " + self.pick("x", "y", "ns.a", "x, y") + " = " + self.any(2))
        if kind == 4:
            return (self.tag("if " + self.truth(2)) + self.body(depth - 1) + self.tag("elif " + self.truth(1)) + self.body(depth - 1) +
                    self.tag("else") + self.body(depth - 1) + self.tag("endif"))
        if kind == 5:
            return self.tag("raw") + self.data() + "{{ x }}" + self.data() + self.tag("endraw")
        if kind == 6:
            return self.tag("set x" + self.pick("", " | upper", " | trim")) + self.body(depth - 1) + self.tag("endset")
        loop = self.tag(f"for x in {self.sequence(2)}" + self.pick("", "", " if " + self.truth(1)))
        jump = self.tag("if " + self.truth(1)) + self.tag(self.pick("break", "continue")) + self.tag("endif") if self.rng.random() < 0.3 else ""
        field = self.pick("index", "index0", "first", "last", "length", "revindex", "revindex0", "previtem", "nextitem", "cycle(1, 2)", "depth")
        return (loop + self.output("loop." + field) + jump + self.body(depth - 1) +
                (self.tag("else") + self.body(0) if self.rng.random() < 0.3 else "") + self.tag("endfor"))

    def template(self):
        return "{% set ns = namespace(a=1) %}" + self.body(2) + self.pick("", "\n", "\n\n")


def cases():
    rng = random.Random(1)
    known = [(path.name, path.read_text()) for path in sorted(DATA.glob("*.jinja"))]
    assert len(known) >= 7, "templates are missing from " + str(DATA)
    for _ in range(4000):
        name, source = rng.choice(known)
        yield name, source, random_messages(rng)
    functions = ["lower", "upper", "title", "capitalize", "trim", "tojson", "string"]
    characters = [chr(c) for c in range(1, 0x110000) if unicodedata.category(chr(c)) not in ("Cs", "Cn", "Co")]
    content = " ".join(characters) + "a" + "a".join(characters)
    for function in functions:
        yield "every character", "{{ messages[0].content|" + function + " }}", [{"role": "user", "content": content}]
    for call in ["lower()", "upper()", "title()", "strip()", "split()|join('|')", "splitlines()|join('|')"]:
        yield "every character", "{{ messages[0].content." + call + " }}", [{"role": "user", "content": content}]
    yield "every character", "{{ messages }}", [{"role": "user", "content": content}]
    generator = Expressions(rng)
    for _ in range(2500):
        yield "generated", generator.template(), random_messages(rng)


def render(env, source, messages, prompt):
    try:
        text = env.from_string(source).render(messages=messages, tools=None, documents=None, add_generation_prompt=prompt)
        text.encode()
        return {"text": text}
    except Exception as error:  # whatever Python raises is a refusal
        return {"error": f"{type(error).__name__}: {error}"}


def check_marks(messages, answer):
    """Every private character must be inside the marks, and no other character of ours (ASCII) may be."""
    text = answer["text"].encode()
    marked = bytearray(len(text))
    for begin, end in answer["user"]:
        marked[begin:end] = b"\1" * (end - begin)
    at = 0
    for c in answer["text"]:
        size = len(c.encode())
        private = "\ue000" <= c <= "\uf8ff"
        if private != bool(marked[at]):
            return f"byte {at} ({c!r}) is {'not ' if private else ''}marked"
        at += size
    return None


def private_messages(rng):
    letters = lambda: "".join(chr(rng.randrange(0xE000, 0xF900)) for _ in range(rng.randrange(1, 9)))
    return [{"role": letters(), "content": letters()} for _ in range(rng.randrange(1, 4))]


def main():
    env = environment()
    driver = sys.argv[1]
    rows = [(name, source, messages, i % 2 == 0) for i, (name, source, messages) in enumerate(cases())]
    rng = random.Random(2)
    known = [path.read_text() for path in sorted(DATA.glob("*.jinja"))]
    private = [("marks", rng.choice(known + [
        "{{ messages[0].content.replace(messages[0].content[1:2], 'x')|upper ~ messages|map(attribute='role')|join(', ') }}",
        "{% set ns = namespace(t='') %}{% for m in messages %}{% set ns.t = ns.t + m.content[::-1] + '|' %}{% endfor %}{{ ns.t|trim }}",
        "{% set b %}({{ messages[0].role }}){% endset %}{{ b.split('(')|join('[')|title|indent(2, true) }}"]), private_messages(rng), True) for _ in range(1000)]
    lines = "".join(json.dumps({"template": s, "messages": m, "add_generation_prompt": p}) + "\n" for _, s, m, p in rows + private)
    run = subprocess.run([driver], input=lines.encode(), stdout=subprocess.PIPE, check=True)
    answers = [json.loads(line) for line in run.stdout.decode().split("\n") if line]
    assert len(answers) == len(rows) + len(private), (len(answers), len(rows))
    wrong = refused = rendered = raised = 0
    for (name, source, messages, prompt), ours in zip(rows, answers):
        theirs = render(env, source, messages, prompt)
        rendered += "text" in theirs
        raised += "error" in theirs
        if "text" in theirs and "error" in ours and name == "generated" and any(reason in ours["error"] for reason in REFUSALS):
            refused += 1
        elif ("text" in theirs) != ("text" in ours) or theirs.get("text") != ours.get("text"):
            wrong += 1
            if wrong <= 25:
                a, b = theirs.get("text"), ours.get("text")
                if a and b and len(a) > 500:
                    at = next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))
                    theirs, ours = {"text": a[max(0, at - 20):at + 20]}, {"text": b[max(0, at - 20):at + 20]}
                    messages = "..."
                print(f"--- {name}\ntemplate: {source!r}\nmessages: {messages!r}\njinja2: {theirs}\nours:   {ours}")
    for (name, source, messages, prompt), ours in zip(private, answers[len(rows):]):
        error = check_marks(messages, ours) if "text" in ours else (None if "error" in render(env, source, messages, prompt) else ours["error"])
        if error:
            wrong += 1
            print(f"--- {name}\ntemplate: {source!r}\nmessages: {messages!r}\n{error}")
    print(f"{len(rows)} compared: {rendered} rendered, {raised} raised by jinja2; {refused} refused only by us; {wrong} wrong; {len(private)} checked for marks")
    assert rendered > 2500 and raised > 1500 and refused < 0.05 * rendered, "the cases no longer test what they should"
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
