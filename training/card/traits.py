"""Sex and age from the descriptor, and the descriptor's middle: learnt on photos of real people.

    python card/traits.py --photos PHOTOS.jsonl [--out ROOT]

PHOTOS.jsonl is what `imagine-training card-measure` made of the portraits that portraits.jsonl names (gates.py leaves it
in its work folder).  What a probe learnt on renders says of sex does not carry over to photos (gates.py), and need not: what
a person is asked about is a photo, and of a render the truth is known.  Every probe is judged by folds of people whom it has
not seen; the mean and the probes are then added to ROOT/identity/weights/card.safetensors, and the numbers to
ROOT/docs/measurements/identity-card-traits.json.

Needs numpy==2.4.6 and safetensors==0.8.0.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from learn import auc, interval, logistic, ridge_regression
from safetensors.numpy import load_file, save_file

ROOT = Path(__file__).parents[2]
PORTRAIT_YEAR = 2010  # most were taken between 2005 and 2014
FOLDS = 5
GROUPS = (36, 58)  # where "middle-aged" and "elderly" begin, as in render/people.py
SURE = 0.7  # as in identity/src/card/reader.rs
RIDGE = 0.1


def of_unseen(learn, x, y):
    """Scores by probes that were learnt without the person."""
    order, out = np.random.default_rng(0).permutation(len(y)), np.zeros(len(y))
    for fold in range(FOLDS):
        test = order[fold::FOLDS]
        rest = np.setdiff1d(order, test)
        w, b = learn(x[rest], y[rest])
        out[test] = x[test] @ w + b
    return out


def rounded(values):
    return dict(zip(('value', 'low', 'high'), (round(float(v), 3) for v in values), strict=True))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--photos', required=True)
    parser.add_argument('--out', default=str(ROOT))
    options = parser.parse_args()
    with open(Path(__file__).parent / 'portraits.jsonl') as lines:
        labels = {row['file']: row for row in map(json.loads, lines)}
    with open(options.photos) as lines:
        rows = [row for row in map(json.loads, lines) if row['file'] in labels]
    x = np.array([row['descriptor'] for row in rows])
    woman = np.array([labels[row['file']]['sex'] == 'woman' for row in rows], float)
    years = np.array([PORTRAIT_YEAR - labels[row['file']]['born'] for row in rows], float)
    known = (years > 20) & (years < 95)

    chance = 1 / (1 + np.exp(-of_unseen(lambda a, b: logistic(a, b, RIDGE), x, woman)))
    sure = np.abs(chance - 0.5) > SURE - 0.5
    guessed = np.zeros(len(years))
    guessed[known] = of_unseen(ridge_regression, x[known], years[known])
    group = lambda age: np.digitize(age, GROUPS)  # noqa: E731
    report = {
        'photos': len(rows),
        'women': int(woman.sum()),
        'sex': {
            'auc': rounded(interval(auc, chance, woman)),
            'told': round(float(sure.mean()), 3),
            'right_of_told': round(float(((chance > 0.5) == woman)[sure].mean()), 3),
            'right_of_women_told': round(float((chance > 0.5)[sure & (woman > 0)].mean()), 3),
        },
        'age': {
            'photos': int(known.sum()),
            'correlation': rounded(interval(lambda a, b: float(np.corrcoef(a, b)[0, 1]), guessed[known], years[known])),
            'mean_error_years': round(float(np.abs(guessed - years)[known].mean()), 2),
            'mean_error_of_the_mean': round(float(np.abs(years[known] - years[known].mean()).mean()), 2),
            'group_right': round(float((group(guessed) == group(years))[known].mean()), 3),
        },
    }
    print(json.dumps(report, indent=1))
    file = Path(options.out, 'identity/weights/card.safetensors')
    tensors = load_file(file)
    sex, age = logistic(x, woman, RIDGE), ridge_regression(x[known], years[known])
    for name, (weight, bias) in (('woman', sex), ('years', age)):
        tensors[f'{name}.weight'] = np.asarray(weight, np.float32)
        tensors[f'{name}.bias'] = np.array([bias], np.float32)
    tensors['descriptor.mean'] = x.mean(0).astype(np.float32)
    save_file(tensors, file)
    report_file = Path(options.out, 'docs/measurements/identity-card-traits.json')
    report_file.write_text(json.dumps(report, indent=1) + '\n')


if __name__ == '__main__':
    main()
