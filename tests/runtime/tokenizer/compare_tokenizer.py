#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares our tokenizer with the `tokenizers` package: compare_tokenizer.py DRIVER SOURCE_DIR [CASES_PER_TOKENIZER].

Tokenizers are trained here, with the package itself, from a fixed text; the random strings come from a fixed seed.
Characters are taken from those that Python's Unicode tables know (14 in Python 3.11, as in PCRE2 10.42 and utf8proc 2.8);
newer ones are classed differently by tables of different age, and no tokenizer is wrong there. The package's NFC tables
are older still (about Unicode 9): marks whose order it does not know are left out of the strings for NFC tokenizers.
"""
import json
import random
import subprocess
import sys
import tempfile
import unicodedata
from pathlib import Path

SKIPPED = 77  # ctest's SKIP_RETURN_CODE
try:
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
except ImportError as error:
    print(f"SKIPPED: {sys.executable} has no package `tokenizers` ({error}).")
    print("Nothing was compared. Install it with `python3 -m pip install tokenizers` in a virtual environment and")
    print("configure with -DUNMASK_PYTHON=/path/to/venv/bin/python.")
    sys.exit(SKIPPED)

BAILING = (r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+")
QWEN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
O200K = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
         r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
         r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")

CHARACTERS = [c for c in map(chr, range(0x110000)) if unicodedata.category(c) not in ("Cn", "Cs", "Co")]
COMMON = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 .,;:!?'\"()[]{}<>|/\\-_=+*&^%$#@~`\t\n\r"
WORDS = ["the", " and", "it's", "WE'LL", "they\u2019re", "'\u017f", "I'M", " don't", "x'VE", "\u00e9", "e\u0301", "\u1e9b\u0323", "\uac00",
         "\u1100\u1161\u11a8", "\u212b", "\u4f60\u597d", "\u3053\u3093", "\U0001f469\u200d\U0001f469\u200d\U0001f467", "\U0001f1e9\U0001f1ea",
         "\u0e01\u0e33", "\u0661\u0662", "\u00b2", "\u2167", "\x00", "\x1c", "\x85", "\u00a0", "\u180e", "\u200b", "\u2028", "\ufeff",
         "\r\n", "\n\n", " \n ", "\t\t", "   ", "\u3000", "a.b", "xa.ba.b ", "brownfox", " lazydog brownfox1234",
         "aXb", "STOP ask", "\u0345", "q\u0323\u0307", "\u0fb2\u0f80"]
CORPUS = ["The quick brown fox jumps over the lazy dog; the dog's name isn't 1234 but 5678.", "we'll see they're WE'VE I'M don't",
          "for (int i = 0; i < 10; ++i) {\n    sum += values[i];\n}\n", "\u4f60\u597d\uff0c\u4e16\u754c\u3002 \u3053\u3093\u306b\u3061\u306f", "na\u00efve caf\u00e9 e\u0301 \u00fcber",
          "    deep    spaces\t\ttabs\r\n\r\nlines", "\u041f\u0440\u0438\u0432\u0435\u0442 \u043c\u0438\u0440 \u041f\u0440\u0438\u0432\u0435\u0442", "aaaaaaaaaaaaaaaa bbbbbbbb abababab"] * 4


def train(pre_tokenizer, normalizer=None, vocab_size=600, added=(), **model):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.normalizer = normalizer
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(CORPUS, trainers.BpeTrainer(
        vocab_size=vocab_size, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False))
    tokenizer.add_tokens(list(added))
    data = json.loads(tokenizer.to_str())
    data["model"].update(model)
    return data


def split(pattern, behavior="isolated", invert=False, prefix=False, use_regex=False):
    return pre_tokenizers.Sequence([pre_tokenizers.Split(pattern, behavior, invert),
                                    pre_tokenizers.ByteLevel(add_prefix_space=prefix, use_regex=use_regex)])


def special(*texts):
    return [AddedToken(t, special=True, normalized=False) for t in texts]


def merges_as_texts(data):
    data["model"]["merges"] = [" ".join(pair) for pair in data["model"]["merges"]]
    return data


def all_flags():
    """Every combination of the five flags, on tokens that overlap each other, white space and words."""
    tokens = []
    for bits in range(32):
        flag = [bool(bits >> i & 1) for i in range(5)]
        tokens.append(AddedToken(f"<t{bits}>" if bits % 3 else f"tok{bits}", special=flag[0], normalized=flag[1], lstrip=flag[2],
                                 rstrip=flag[3], single_word=flag[4]))
    return tokens + [AddedToken("<t1", special=True, normalized=False), AddedToken("  ", normalized=False), AddedToken("caf\u00e9", normalized=True),
                     AddedToken("e\u0301a", normalized=True), AddedToken("e\u0301b", normalized=True, special=True),
                     AddedToken("e\u0301", normalized=False), AddedToken("<\uff5cuser\uff5c>", special=True, normalized=True)]


def variants(source):
    bailing, qwen = Regex(BAILING), Regex(QWEN)
    chat = special("<|startoftext|>", "<|endoftext|>", "<|mask|>", "<role>", "</role>", "<|role_end|>")
    yield "demo", json.loads((source / "models/demo/tokenizer.json").read_text())
    yield "bailing", train(split(bailing), added=chat)
    yield "bailing, merges as texts", merges_as_texts(train(split(bailing), added=chat))
    yield "qwen, NFC", train(split(qwen), normalizers.NFC(), added=special("<|im_start|>", "<|im_end|>"))
    yield "qwen, NFC, all flags", train(split(qwen), normalizers.Sequence([normalizers.NFC()]), added=all_flags())
    yield "bailing, all flags", train(split(bailing), added=all_flags())
    yield "gpt2", train(pre_tokenizers.ByteLevel(add_prefix_space=False))
    yield "gpt2, prefix space", train(pre_tokenizers.ByteLevel(add_prefix_space=True), added=special("<s>"))
    yield "split, prefix space, regex", train(split(qwen, prefix=True, use_regex=True))
    yield "llama3", train(split(Regex(LLAMA3)), added=special("<|begin_of_text|>"), ignore_merges=True)
    yield "o200k", train(split(Regex(O200K)))
    for behavior in ("removed", "merged_with_previous", "merged_with_next", "contiguous"):
        for invert in (False, True):
            yield f"{behavior}, invert {invert}", train(split(Regex(r"\s+|\p{N}|(?=[A-Z])"), behavior, invert))
    yield "literal pattern", train(split("a.b", "merged_with_next"))
    yield "empty pattern", train(split("", "isolated"))
    yield "lines", train(split(Regex(r"^\w|\W$|(?i:[sk])+|(?<=a)b|[^\S\n]{2,3}|.\d"), "isolated"))
    gappy = train(split(bailing), ignore_merges=True)  # tokens that no merge makes
    for extra in ("brownfox", "\u0120lazydog", "1234"):
        gappy["model"]["vocab"][extra] = len(gappy["model"]["vocab"])
    yield "ignore_merges", gappy
    without = json.loads(json.dumps(gappy))
    without["model"]["ignore_merges"] = False
    yield "ignore_merges off", without
    for fuse in (False, True):
        holes = train(split(bailing))
        used = set("abcde\u0120") | {token for pair in holes["model"]["merges"] for token in pair}
        vocab = [t for t in holes["model"]["vocab"] if len(t) > 1 or t in used] + ["<unk>"]
        holes["model"].update(vocab={t: i for i, t in enumerate(vocab)}, unk_token="<unk>", fuse_unk=fuse)
        yield f"unknown characters, fuse {fuse}", holes
    post = train(split(bailing), added=special("<s>"))
    tokenizer = Tokenizer.from_str(json.dumps(post))
    tokenizer.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=True), processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))])])
    yield "post-processor", json.loads(tokenizer.to_str())


def unknown_to(normalizer):
    """Marks that the package's NFC does not put in their place."""
    bad = set()
    for c in CHARACTERS:
        for text in ("e\u0301" + c + "\u0316\u0301", "a\u0316" + c + "\u0316\u05b0\u0301\u0344"):
            if normalizer.normalize_str(text) != unicodedata.normalize("NFC", text):
                bad.add(c)
    return bad


def random_text(rng, characters, tokens):
    parts = []
    for _ in range(rng.randrange(1, 14)):
        kind = rng.randrange(10)
        if kind < 3:
            parts.append("".join(rng.choice(COMMON) for _ in range(rng.randrange(1, 12))))
        elif kind < 5:
            parts.append(rng.choice(WORDS))
        elif kind < 6:
            parts.append("".join(rng.choice(characters) for _ in range(rng.randrange(1, 6))))
        elif kind < 7:
            parts.append(rng.choice([" ", "\n", "\r\n", "a", "=", "ab", "\u3000"]) * rng.randrange(1, 80))
        elif kind < 8 or not tokens:
            parts.append("".join(chr(rng.choice([rng.randrange(0x20), rng.randrange(0x7f, 0xa0), rng.randrange(0x300, 0x370)])) for _ in range(3)))
        else:
            token = rng.choice(tokens)
            parts.append(token if rng.random() < 0.8 else token[:rng.randrange(len(token))])
    return "".join(parts)


def run(driver, data, cases):
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(data, file)
        file.flush()
        done = subprocess.run([driver, file.name], input="".join(json.dumps(case) + "\n" for case in cases).encode(),
                              capture_output=True, check=False)
    if done.returncode:
        raise SystemExit(f"the driver failed: {done.stderr.decode()}")
    return [json.loads(line) for line in done.stdout.split(b"\n") if line]


def compare(driver, name, data, rng, count):
    reference = Tokenizer.from_str(json.dumps(data))
    nfc = "NFC" in json.dumps(data["normalizer"])
    bad = unknown_to(normalizers.NFC()) if nfc else set()
    characters = [c for c in CHARACTERS if c not in bad]
    tokens = [t["content"] for t in data["added_tokens"]]
    texts = ["", " ", "  ", "\n", "a" * 200, " " * 200 + "x", "ab" * 100] + WORDS + tokens
    texts += [random_text(rng, characters, tokens) for _ in range(count)]
    size = reference.get_vocab_size()
    cases, expected = [], []
    for text in texts:
        for user in (False, True):
            reference.encode_special_tokens = user
            ids = reference.encode(text, add_special_tokens=False).ids
            cases.append({"text": text, "user": [[0, len(text.encode())]] if user and text else []})
            expected.append(ids)
            cases.append({"ids": ids, "skip": user})
            expected.append(reference.decode(ids, skip_special_tokens=user))
        ids = [rng.randrange(size) for _ in range(rng.randrange(12))]
        cases.append({"ids": ids, "skip": bool(len(ids) % 2)})
        expected.append(reference.decode(ids, skip_special_tokens=bool(len(ids) % 2)))
    found = run(driver, data, cases)
    wrong = [i for i in range(len(cases)) if found[i] != expected[i]]
    for i in wrong[:5]:
        print(f"  {name}: {json.dumps(cases[i])}\n    expected {json.dumps(expected[i])}\n    found    {json.dumps(found[i])}")
    print(f"{'FAILED' if wrong else 'equal '} {name}: {len(cases)} cases, {len(wrong)} differ", flush=True)
    return len(wrong)


def main():
    driver, source = sys.argv[1], Path(sys.argv[2])
    count = int(sys.argv[3]) if len(sys.argv) > 3 else 250
    rng = random.Random(20260101)
    wrong = sum(compare(driver, name, data, rng, count) for name, data in variants(source))
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
