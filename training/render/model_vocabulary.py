"""Writes what a trained model knows: its words, and the phrases of its captions by what they say.

    python model_vocabulary.py vocabulary.json MODEL

MODEL/vocabulary.json is what prompt expansion reads: a checkpoint with that file is spoken to in these words alone.
"""

import json
import pathlib
import re
import sys

BARE = ('armour', 'dungarees', 'scrubs', 'snorkel')  # the same words as in src/captions.rs


def with_article(noun):
    if noun.split()[-1] in BARE:
        return noun
    return f'{"an" if noun[0] in "aeiou" else "a"} {noun}'


def main():
    captions = json.loads(pathlib.Path(sys.argv[1]).read_text())
    model = pathlib.Path(sys.argv[2])
    source = (pathlib.Path(__file__).parent.parent / 'src' / 'captions.rs').read_text()
    template = source.split('TEMPLATE_WORDS')[1].split('];')[0]
    words = sorted({*captions['words'], *re.findall(r'"([a-z-]+)"', template)})
    clauses = captions['clauses']
    worn = [f'wearing {with_article(thing)}' for thing in clauses['clothes'] + clauses['hat']]
    phrases = {
        'setting': clauses['place'],
        'wardrobe': worn,
        'light': clauses['light'],
        # What nobody asked for may not make the person angry or turn them away.
        'expression': [word for word in clauses['expression'] if word in ('smiling', 'laughing')],
        'pose': ['facing the camera'],
    }
    known = set(words)
    for slot, texts in phrases.items():
        phrases[slot] = [t for t in texts if all(w in known for w in t.split())]
    text = json.dumps({'phrases': phrases, 'words': words}, indent=1)
    (model / 'vocabulary.json').write_text(text + '\n')


main()
