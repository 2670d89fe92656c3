"""Makes tests/golden/fixtures/tokenizer: a small CLIP vocabulary, tokenizer folders in the forms that
checkpoints have, and the ids that transformers' CLIPTokenizer gives for texts that are hard to get right.

Needs transformers==5.23.0, tokenizers==0.23.3; run it from anywhere:

    python tests/golden/generate/tokenizer.py

`base/` holds vocab.json and merges.txt; every folder without a tokenizer.json of its own is completed
with them, here and in the Rust test.
"""

import json
import shutil
import tempfile
from collections import Counter
from pathlib import Path

import tokenizers
import transformers
from transformers import CLIPTokenizer

OUT = Path(__file__).parent.parent / "fixtures" / "tokenizer"
BOS, EOS = "<|startoftext|>", "<|endoftext|>"

WORDS = """a an and as at in of on the with by me my photo portrait picture painting drawing person man woman child
face eyes smile smiling hair long short curly red blue green black white golden dark light sun moon sea snow city
forest mountain astronaut space suit wearing glasses hat beard king queen knight riding horse cat dog old young
oil watercolor style detailed realistic studio lighting close up full body standing sitting other mother brother
anna ana banana bananas café naïve straße 東京 улица 🙂 , . : ( ) 's n 1 2""".split()

TEXTS = [
    "",
    " ",
    "a portrait of a smiling woman",
    "  A   Portrait\tof a\n\nMAN \r\n",
    "other mothers and brotherly astronauts",
    "don't I'll you're he's we've I'd I'm it's",
    "DON'T YOU'RE IT'S",
    "rock 'n' roll, 'tis the cats' 's 's's ''s 'sun 'red 'll",
    "don’t it’s ‘quoted’ “text”",
    "2024 3.14 1,000,000 007 1st 2nd a1b2c3",
    "hello!",
    "!",
    "! ! !!! ?! !a a!",
    "wow!!! really?!... yes;no:maybe",
    "(cat:1.2) [dog] {horse|knight} <sun>",
    "snake_case kebab-case camelCase x_1",
    "user@example.com https://example.com/a?b=c&d=%20#e",
    "C++ C# F# a/b a\\b $5 €5 50% ~ ^ ` |",
    "&amp; &lt;b&gt; &#39;",
    "café naïve Straße STRASSE ÀÉÎÕÜ",
    "cafe\u0301 nai\u0308ve A\u030a \u212b",
    "e\u0301\u0323 q\u0307\u0323 \u0344",
    "ﬁ ﬂ ﬀ Ǆ ǅ ŉ",
    "İstanbul ISPARTA ırmak I\u0307",
    "ΣΑΣ ΟΔΟΣ Όσο ΐ ᾳ ᾼ",
    "Улица Москва ЙОД И\u0306",
    "東京 東京都 日本語のテキスト カタカナ が か\u3099",
    "中文，标点。「引号」",
    "한국어 \u1112\u1161\u11ab\u1100\u1173\u11af",
    "हिन्दी में पाठ ก็ ไทย தமிழ்",
    "עברית שלום العربية مَرْحَبًا ١٢٣",
    "１２３ ＡＢＣ ½ ¼ ² ₃ Ⅷ ⅷ ① ㊿",
    "🙂",
    "🙂🙂 🙂a a🙂 :) ;-)",
    "👩‍🚀 👨‍👩‍👧‍👦 🧑🏽‍🎨 🏳️‍🌈",
    "🇫🇷🇯🇵 1️⃣ ❤️ ❤ ☺︎",
    "e\u200be a\u200da a\u00ada \ufeffa",
    "a\u00a0b\u2003c\u2028d\u3000e\u0085f\u1680g\u180eh",
    "a\x00b \x01 \x07 \x1b[0m \x7f",
    "a\x0bb\x0cc\x1cd\x1de\x1ef\x1fg",
    "\U000e0041 \ue000 \uffff \U0010ffff \ufffd",
    "∑ ∫ √2 ≤ ≥ ≠ × ÷ π ℏ ℝ 𝕏 𝓐 𝟘",
    "← → ⇒ ■ ★ ♫ ☃ ☂",
    "™ ® © ª º µ Å K",
    "<|startoftext|>",
    "<|endoftext|>",
    "a<|endoftext|>b <|startoftext|> cat<|startoftext|>dog",
    "<|ENDOFTEXT|> <|StartOfText|> < |endoftext| >",
    "<|endoftext|>! <|endoftext |> <|endoftext|",
    "a photo of <my-style> <MY-STYLE> <my-style>cat sks SKS sksks Sks",
    "<my-style><my-style> sks!sks",
    "banana bananas ana anna banananana",
    "thethethe the the_the",
    "\\n \\t \"quoted\" 'quoted' `code`",
    "a" * 300,
    "🙂" * 40,
    "東京" * 40,
    "portrait " * 100,
    " ".join(f"{word} {index}" for index, word in enumerate(WORDS)),
    "an old man with a beard and glasses, wearing a red hat, sitting in a dark forest, oil painting, detailed, "
    "realistic, studio lighting, close up",
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen",
    "a, an. of; the! on? (in) [at] {by} <me> \"my\" 'as' ",
    "ᏣᎳᎩ ꮳꮃꭹ Ა ა ẞ ß",
    "x́̂̃̄̅ Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞͉͚̯̞̠͍A̴̵̜̰͔ͫ͗͢",
]


def byte_alphabet():
    """GPT-2's character for each byte, in CLIP's order."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAC + 1), *range(0xAE, 0xFF + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + i) for i, byte in enumerate(others)}


def learn(words):
    """Byte-pair encoding until every word is one token; ties go to the pair that sorts first."""
    alphabet = byte_alphabet()
    tokens = [*alphabet.values(), *(c + "</w>" for c in alphabet.values())]
    pieces = []
    for word in sorted(set(words)):
        chars = [alphabet[byte] for byte in word.encode()]
        pieces.append([*chars[:-1], chars[-1] + "</w>"])
    ranks = {}
    while any(len(word) > 1 for word in pieces):
        counts = Counter(pair for word in pieces for pair in zip(word, word[1:]))
        pair = min(counts, key=lambda pair: (-counts[pair], pair))
        ranks[pair] = len(ranks)
        if "".join(pair) not in tokens:
            tokens.append("".join(pair))
        for word in pieces:
            while True:
                fitting = [(ranks[p], at) for at, p in enumerate(zip(word, word[1:])) if p in ranks]
                if not fitting:
                    break
                at = min(fitting)[1]
                word[at : at + 2] = ["".join(word[at : at + 2])]
    return [*tokens, BOS, EOS], list(ranks)


def write_vocabulary(folder, tokens, merges):
    folder.mkdir(parents=True)
    entries = ", ".join(f"{json.dumps(token, ensure_ascii=False)}: {index}" for index, token in enumerate(tokens))
    (folder / "vocab.json").write_text("{" + entries + "}", encoding="utf-8")
    lines = "".join(f"{a} {b}\n" for a, b in merges)
    (folder / "merges.txt").write_text("#version: 0.2\n" + lines, encoding="utf-8")


def write_json(file, value):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def old_token(content, normalized, typed):
    entry = {"content": content, "lstrip": False, "normalized": normalized, "rstrip": False, "single_word": False}
    return {"__type": "AddedToken", **entry} if typed else entry


def old_settings(max_length, pad):
    """tokenizer_config.json and special_tokens_map.json as transformers 4 wrote them."""
    config = {
        "add_prefix_space": False,
        "bos_token": old_token(BOS, True, True),
        "do_lower_case": True,
        "eos_token": old_token(EOS, True, True),
        "errors": "replace",
        "model_max_length": max_length,
        "pad_token": EOS,
        "tokenizer_class": "CLIPTokenizer",
        "unk_token": old_token(EOS, True, True),
    }
    special = {
        "bos_token": old_token(BOS, True, False),
        "eos_token": old_token(EOS, True, False),
        "pad_token": pad,
        "unk_token": old_token(EOS, True, False),
    }
    return {"tokenizer_config.json": config, "special_tokens_map.json": special}


def listed_settings(max_length, pad, tokens):
    """tokenizer_config.json of later versions of transformers 4, with the added tokens in a list."""
    decoder = {
        tokens.index(content): {**old_token(content, normalized, False), "special": True}
        for content, normalized in ((pad, False), (BOS, False), (EOS, True))
    }
    config = {
        "added_tokens_decoder": decoder,
        "bos_token": BOS,
        "eos_token": EOS,
        "model_max_length": max_length,
        "pad_token": pad,
        "unk_token": EOS,
    }
    # Wins nothing: the list above is complete.
    return {"tokenizer_config.json": config, "special_tokens_map.json": {"pad_token": EOS}}


def complete(name, folder):
    """A copy of a fixture folder that can be loaded by itself."""
    shutil.copytree(OUT / name, folder)
    if not (folder / "tokenizer.json").exists() and not (folder / "vocab.json").exists():
        for file in ("vocab.json", "merges.txt"):
            shutil.copy(OUT / "base" / file, folder)
    return folder


def save_again(name, source, scratch):
    """What transformers 5 itself writes for the tokenizer of another folder."""
    CLIPTokenizer.from_pretrained(complete(source, scratch / source)).save_pretrained(OUT / name)
    assert sorted(p.name for p in (OUT / name).iterdir()) == ["tokenizer.json", "tokenizer_config.json"]


def encode(name, scratch):
    tokenizer = CLIPTokenizer.from_pretrained(complete(name, scratch / f"{name}-test"))
    rows = []
    for text in TEXTS:
        out = tokenizer(text, padding="max_length", max_length=tokenizer.model_max_length, truncation=True)
        length = sum(out["attention_mask"])
        assert out["input_ids"][length:] == [tokenizer.pad_token_id] * (tokenizer.model_max_length - length)
        rows.append(out["input_ids"][:length])
    return {"pad_id": tokenizer.pad_token_id, "model_max_length": tokenizer.model_max_length, "ids": rows}


def main():
    for module, version in ((transformers, "5.23.0"), (tokenizers, "0.23.3")):
        assert module.__version__ == version, f"{module.__name__} {module.__version__}, expected {version}"
    shutil.rmtree(OUT, ignore_errors=True)
    tokens, merges = learn(WORDS)
    write_vocabulary(OUT / "base", tokens, merges)

    # Few bytes: what is not there becomes the unknown token.
    letters = set("abcdefghijklmnopqrstuvwxyz ,.!")
    few = [t for t in tokens if t in (BOS, EOS) or set(t.removesuffix("</w>")) <= letters]
    write_vocabulary(OUT / "few_bytes", few, [m for m in merges if "".join(m) in few and set(m) <= set(few)])

    extra = {"<my-style>": len(tokens), "sks": len(tokens) + 1}
    settings = {
        "openai": old_settings(77, EOS),
        "openclip": old_settings(24, "!"),
        "listed": listed_settings(24, "!", tokens),
        "bare": {"tokenizer_config.json": {"model_max_length": 24}},
        "added": {**old_settings(24, EOS), "added_tokens.json": extra},
        "few_bytes": {"tokenizer_config.json": {"model_max_length": 24}},
    }
    for name, files in settings.items():
        for file, value in files.items():
            write_json(OUT / name / file, value)

    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        for source in ("openai", "listed", "added"):
            save_again(f"{source}_saved", source, scratch)
        # As older versions wrote it: merges as text, no kind of model; and all files at once.
        saved = json.loads((OUT / "openai_saved" / "tokenizer.json").read_text(encoding="utf-8"))
        del saved["model"]["type"]
        saved["model"]["merges"] = [" ".join(merge) for merge in saved["model"]["merges"]]
        write_json(OUT / "all_files" / "tokenizer.json", saved)
        for file, value in old_settings(24, "!").items():
            write_json(OUT / "all_files" / file, value)

        names = sorted(p.name for p in OUT.iterdir() if p.name != "base")
        cases = {name: encode(name, scratch) for name in names}
    write_json(OUT / "words.json", WORDS)
    write_json(OUT / "texts.json", TEXTS)
    (OUT / "cases.json").write_text(json.dumps(cases, separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
