"""The gates of the identity card: how each part carries over from renders to photos of real people.

    python card/gates.py --renders DIR --photos DIR --work DIR [--imagine-training BINARY] [--out ROOT]

DIR of renders is what render/card_faces.py made; DIR of photos holds the files that portraits.jsonl names, whose README
says where they come from. The program has `imagine-training card-measure` measure both (what lies in the work folder
already is not measured again), learns the mean head and the probes from the first two thirds of the rendered people,
judges them on the last third and on the photos, and writes

    ROOT/identity/weights/card.safetensors        mean head and probes
    ROOT/docs/measurements/identity-card.json     every number

Needs numpy==2.4.6 and safetensors==0.8.0.
"""

import argparse
import glob
import hashlib
import json
import os
import subprocess
from pathlib import Path

import numpy as np
from learn import auc, frontal, interval, logistic, mean_head, ridge_regression
from safetensors.numpy import save_file

ROOT = Path(__file__).parents[2]
LIGHT_SHARES = [0.0, 0.3, 0.5, 1.0]  # as in card_measure.rs
LIGHT_SHARE = 2  # the one that the card uses
CASTS = {'warm': ('1.25', '1', '0.75'), 'cool': ('0.8', '1', '1.25')}
CAST_EVERY = 20
PORTRAIT_YEAR = 2010  # most were taken between 2005 and 2014
KEPT = ('glasses', 'long_hair', 'hat')  # the probes that passed; the others are measured to see whether they do
DOUBTFUL = (None, 'stubble', 'moustache')  # not seen, or of the kinds that have no label on the photos either
WINDOWS = {'glasses': 'eyes', 'beard': 'mouth', 'bald': 'head', 'long_hair': 'head', 'hat': 'head'}


def measured(binary, pictures, out, *more):
    """Lines of a measurement by file name, made if they are not there."""
    if not os.path.exists(out):
        command = [binary, 'card-measure', '--pictures', pictures, '--out', out + '.part', *more]
        subprocess.run(command, check=True)
        os.rename(out + '.part', out)
    with open(out) as lines:
        return {os.path.basename(row['file']): row for row in map(json.loads, lines)}


def load_renders(folder, rows):
    truth = []
    for path in sorted(glob.glob(os.path.join(folder, 'truth-*.jsonl'))):
        with open(path) as lines:
            truth += map(json.loads, lines)
    return [(t, rows[os.path.basename(t['file'])]) for t in truth if os.path.basename(t['file']) in rows], len(truth)


def load_photos(folder, rows):
    with open(Path(__file__).parent / 'portraits.jsonl') as lines:
        labels = [json.loads(line) for line in lines]
    for label in labels:
        data = Path(folder, label['file']).read_bytes()
        assert hashlib.sha256(data).hexdigest() == label['sha256'], f'{label["file"]} is another picture'
    return [(t, rows[t['file']]) for t in labels if t['file'] in rows], len(labels)


def column(pairs, key):
    return np.array([row[key] for _, row in pairs], np.float64)


def label(pairs, of):
    """Labels as numbers, NaN where there is none."""
    return np.array([np.nan if (v := of(t)) is None else float(v) for t, _ in pairs])


def srgb_to_lab(rgb):
    c = np.asarray(rgb, float) / 255
    c = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    m = np.array([[0.412456, 0.357576, 0.180438], [0.212673, 0.715152, 0.072175], [0.019334, 0.119192, 0.950304]])
    f = c @ m.T / [0.95047, 1.0, 1.08883]
    f = np.where(f > 0.008856, np.cbrt(f), 7.78704 * f + 16 / 116)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], -1)


def described(statistic, *arrays):
    """A statistic with its interval; None where there is nothing to compute it from."""
    if not len(arrays[0]) or not np.isfinite(statistic(*arrays)):
        return {'value': None, 'n': len(arrays[0])}
    value, low, high = (round(float(v), 3) for v in interval(statistic, *arrays))
    return {'value': value, 'low': low, 'high': high, 'n': len(arrays[0])}


def scored(scores, labels):
    """AUC with its interval, and how many positives there are."""
    known = ~np.isnan(labels)
    out = described(auc, scores[known], labels[known])
    out['positives'] = int(labels[known].sum())
    return out


def across(x, y, x_other, y_other, train, held, folds=5):
    """A probe for y: renders to held-out renders, renders to photos, photos to photos (by folds), photos to renders."""
    known = train & ~np.isnan(y)
    w, b = logistic(x[known], y[known])
    found = {'renders_to_renders': scored(x[held] @ w + b, y[held]), 'renders_to_photos': scored(x_other @ w + b, y_other)}
    rows = np.flatnonzero(~np.isnan(y_other))
    out = np.full(len(y_other), np.nan)
    order = np.random.default_rng(0).permutation(rows)
    for fold in range(folds):
        test = order[fold::folds]
        rest = np.setdiff1d(rows, test)
        if 0 < y_other[rest].sum() < len(rest):
            v, c = logistic(x_other[rest], y_other[rest])
            out[test] = x_other[test] @ v + c
    known = ~np.isnan(out)
    found['photos_to_photos'] = scored(out[known], y_other[known])
    v, c = logistic(x_other[rows], y_other[rows])
    found['photos_to_renders'] = scored(x[held] @ v + c, y[held])
    return found


def correlation(a, b):
    return float(np.corrcoef(a, b)[0, 1])


def regression(x, y, x_other, y_other, train, held):
    """The same for a number, by correlation."""
    w, b = ridge_regression(x[train], y[train])
    order = np.random.default_rng(0).permutation(len(y_other))
    out = np.zeros(len(y_other))
    for fold in range(5):
        test = order[fold::5]
        rest = np.setdiff1d(order, test)
        v, c = ridge_regression(x_other[rest], y_other[rest])
        out[test] = x_other[test] @ v + c
    return {
        'renders_to_renders': described(correlation, x[held] @ w + b, y[held]),
        'renders_to_photos': described(correlation, x_other @ w + b, y_other),
        'photos_to_photos': described(correlation, out, y_other),
    }


def same_person(x, people, shots):
    """How well distances tell whether two renders show one person, and how often the nearest plain portrait is theirs."""
    d = np.linalg.norm(x[:, None] - x[None], axis=2)
    a, b = np.triu_indices(len(x), 1)
    same = people[a] == people[b]
    plain, others = np.flatnonzero(shots == 0), np.flatnonzero(shots > 0)
    nearest = people[plain[d[np.ix_(others, plain)].argmin(1)]]
    return {
        'same': round(float(d[a, b][same].mean()), 3),
        'different': round(float(d[a, b][~same].mean()), 3),
        'auc': round(auc(-d[a, b], same), 3),
        'nearest_is_right': round(float((nearest == people[others]).mean()), 3),
        'among': len(plain),
    }


def spaces(real, rendered):
    """Distances between and within photos and renders."""

    def nearest(a, b):
        return np.array([np.sort(np.linalg.norm(b - row, axis=1))[0] for row in a])

    def between(a, b):
        return np.array([np.linalg.norm(b - row, axis=1).mean() for row in a]).mean()

    apart = [np.partition(np.linalg.norm(real - row, axis=1), 1)[1] for row in real]
    return {
        'photo_photo': round(float(between(real, real)), 3),
        'photo_render': round(float(between(real, rendered)), 3),
        'render_render': round(float(between(rendered, rendered)), 3),
        'nearest_render_of_a_photo': round(float(nearest(real, rendered).mean()), 3),
        'nearest_other_photo': round(float(np.mean(apart)), 3),
    }


def colours(pairs, key, share):
    """[N, 3] Lab, NaN where none was found."""
    return np.array([row[key][share][:3] if row[key][share] else [np.nan] * 3 for _, row in pairs], float)


def colour_report(renders, photos, cast_renders, cast_photos, key, held):
    """Errors against the true colour of renders, movement under a cast, and classes seen by eye on photos."""
    truth = np.array([srgb_to_lab(t[key]) if t[key] else [np.nan] * 3 for t, _ in renders])
    seen = np.array([row.get('skin')[0] is not None for _, row in renders])
    report = {}
    for n, share in enumerate(LIGHT_SHARES):
        found = colours(renders, key, n)
        known = held & ~np.isnan(truth[:, 0]) & ~np.isnan(found[:, 0])
        error = np.linalg.norm(found - truth, axis=1)
        entry = {
            'renders_delta_e': described(lambda e: float(np.median(e)), error[known]),
            'renders_l_correlation': described(correlation, found[known, 0], truth[known, 0]),
            'found_share': round(float(known.sum() / max(1, (held & seen & ~np.isnan(truth[:, 0])).sum())), 3),
        }
        # what is left when one linear map from the training people is applied
        fit = ~held & ~np.isnan(truth[:, 0]) & ~np.isnan(found[:, 0])
        design = np.concatenate([found, np.ones((len(found), 1))], 1)
        mapping = np.linalg.lstsq(design[fit], truth[fit], rcond=None)[0]
        mapped = np.linalg.norm(design @ mapping - truth, axis=1)
        entry['renders_delta_e_mapped'] = round(float(np.median(mapped[known])), 2)
        # the same person under other light: distance of two shots' colours
        people = np.array([t['person'] for t, _ in renders])
        spread = [
            np.linalg.norm(found[(people == p) & known] - found[(people == p) & known].mean(0), axis=1).mean()
            for p in np.unique(people[known])
            if ((people == p) & known).sum() > 1
        ]
        between = found[known] - found[known].mean(0)
        entry['within_person'] = round(float(np.mean(spread)), 2)
        entry['between_people'] = round(float(np.linalg.norm(between, axis=1).mean()), 2)
        lab = colours(photos, key, n)
        chroma = np.abs(colours(photos, 'skin', 0)[:, 1:]).max(1)  # NaN where no skin was found
        grey = ~(chroma >= 4)
        classes = label(photos, lambda t: {'light': 1, 'dark': 0}.get(t.get(f'{key}_seen')))
        usable = ~grey & ~np.isnan(lab[:, 0]) & ~np.isnan(classes)
        entry['photos_light_from_dark'] = scored(lab[usable, 0], classes[usable])
        for which, pairs, casts in (('renders', renders, cast_renders), ('photos', photos, cast_photos)):
            moved = []
            plain = {t['file']: row for t, row in pairs}
            for rows in casts.values():
                for name, row in rows.items():
                    before = plain.get(name) or plain.get('images/' + name)
                    if before and before[key][n] and row[key][n]:
                        # the part of the movement that is colour, not lightness
                        moved.append(np.linalg.norm(np.subtract(row[key][n][1:3], before[key][n][1:3])))
            entry[f'{which}_cast_moves_ab'] = {'value': round(float(np.median(moved)), 2), 'n': len(moved)}
        report[str(share)] = entry
    return report


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--renders', required=True)
    parser.add_argument('--photos', required=True)
    parser.add_argument('--work', required=True)
    parser.add_argument('--imagine-training', default=str(ROOT / 'target/release/imagine-training'))
    parser.add_argument('--out', default=str(ROOT))
    options = parser.parse_args()
    binary = options.imagine_training
    os.makedirs(options.work, exist_ok=True)
    work = lambda name: os.path.join(options.work, name + '.jsonl')  # noqa: E731
    images = os.path.join(options.renders, 'images')
    renders, drawn = load_renders(options.renders, measured(binary, images, work('renders')))
    photos, given = load_photos(options.photos, measured(binary, options.photos, work('photos')))
    every = ['--every', str(CAST_EVERY), '--cast']
    cast_renders = {c: measured(binary, images, work(f'renders-{c}'), *every, *v) for c, v in CASTS.items()}
    cast_photos = {c: measured(binary, options.photos, work(f'photos-{c}'), *every, *v) for c, v in CASTS.items()}

    numbers = np.array([t['person'] for t, _ in renders])
    shots = np.array([t['shot'] for t, _ in renders])
    limit = np.quantile(np.unique(numbers), 2 / 3)
    train, held = numbers <= limit, numbers > limit
    report = {
        'renders': {'drawn': drawn, 'faces': len(renders), 'people': int(len(np.unique(numbers))), 'held_out_people': int(len(np.unique(numbers[held])))},
        'photos': {'given': given, 'faces': len(photos)},
    }

    # the mean head, poses and shapes
    points = column(renders, 'points')
    rotations = np.array([t['rotation'] for t, _ in renders])
    mean = mean_head(points[train], rotations[train])
    fits = [frontal(mean.astype(float), p) for p in points]
    photo_fits = [frontal(mean.astype(float), p) for p in column(photos, 'points')]
    poses, shapes = np.array([f[0] for f in fits]), np.array([f[1] for f in fits]).reshape(len(fits), -1)
    photo_poses = np.array([f[0] for f in photo_fits])
    photo_shapes = np.array([f[1] for f in photo_fits]).reshape(len(photo_fits), -1)
    true_poses = np.array([t['pose'] for t, _ in renders])
    report['pose'] = {}
    for n, axis in enumerate(('yaw', 'pitch', 'roll')):
        off = poses[held, n] - true_poses[held, n]
        report['pose'][axis] = {
            'mean_error': described(lambda e: float(np.abs(e).mean()), off),
            'bias': round(float(off.mean()), 2),
            'correlation': described(correlation, poses[held, n], true_poses[held, n]),
            'photos_mean': round(float(photo_poses[:, n].mean()), 2),
            'photos_spread': round(float(photo_poses[:, n].std()), 2),
        }
    # photos have no true pose: another network's five points are the only other witness
    nose = []
    for _, row in photos:
        right, left, tip = (np.array(row['five'][k]) for k in range(3))
        axis = (left - right) / np.linalg.norm(left - right)
        nose.append((tip - (left + right) / 2) @ axis / np.linalg.norm(left - right))
    report['pose']['photos_yaw_against_five_points'] = described(correlation, photo_poses[:, 0], np.array(nose))
    report['residual'] = {
        'renders': round(float(np.mean([f[2] for f in fits])), 3),
        'photos': round(float(np.mean([f[2] for f in photo_fits])), 3),
    }

    sex = label(renders, lambda t: t['sex'] == 'man')
    photo_sex = label(photos, lambda t: t['sex'] == 'man')
    years = np.array([t['years'] for t, _ in renders])
    photo_years = PORTRAIT_YEAR - np.array([t['born'] for t, _ in photos], float)
    descriptors, photo_descriptors = column(renders, 'descriptor'), column(photos, 'descriptor')
    report['descriptor'] = {
        'sex': across(descriptors, sex, photo_descriptors, photo_sex, train, held),
        'age': regression(descriptors, years, photo_descriptors, photo_years, train, held),
        'same_person': same_person(descriptors[held], numbers[held], shots[held]),
        'spaces': spaces(photo_descriptors, descriptors[shots == 0]),
    }
    report['geometry'] = {
        'sex': across(shapes, sex, photo_shapes, photo_sex, train, held),
        'age': regression(shapes, years, photo_shapes, photo_years, train, held),
        'same_person': same_person(shapes[held], numbers[held], shots[held]),
        'mean_shapes_apart': round(float(np.linalg.norm((shapes.mean(0) - photo_shapes.mean(0)).reshape(-1, 2), axis=1).mean()), 3),
        'spread_renders': round(float(np.linalg.norm((shapes - shapes.mean(0)).reshape(len(shapes), -1, 2), axis=2).mean()), 3),
        'spread_photos': round(float(np.linalg.norm((photo_shapes - photo_shapes.mean(0)).reshape(len(photo_shapes), -1, 2), axis=2).mean()), 3),
    }
    report['skin'] = colour_report(renders, photos, cast_renders, cast_photos, 'skin', held)
    report['hair_colour'] = colour_report(renders, photos, cast_renders, cast_photos, 'hair', held)

    answers = {
        'glasses': (lambda t: t['glasses'], lambda t: t.get('glasses')),
        'beard': (lambda t: None if t['beard'] in DOUBTFUL else t['beard'] != 'none', lambda t: t.get('beard')),
        'bald': (lambda t: None if t['hair_length'] is None or t['hat'] else t['hair_length'] == 'bald', lambda t: None if t.get('hair_length') is None else t['hair_length'] == 'bald'),
        'long_hair': (lambda t: None if t['hair_length'] is None or t['hat'] else t['hair_length'] == 'long', lambda t: None if t.get('hair_length') is None else t['hair_length'] == 'long'),
        'hat': (lambda t: t['hat'], lambda t: t.get('hat')),
    }
    probes = {'shape': mean}
    for name, (of_render, of_photo) in answers.items():
        x, x_photo = column(renders, WINDOWS[name]), column(photos, WINDOWS[name])
        y, y_photo = label(renders, of_render), label(photos, of_photo)
        known = train & ~np.isnan(y)
        weight, bias = logistic(x[known], y[known])
        if name in KEPT:
            probes[f'{name}.weight'], probes[f'{name}.bias'] = weight, np.array([bias], np.float32)
        entry = across(x, y, x_photo, y_photo, train, held)
        for which, rows, values, answer in (('renders', held, x, y), ('photos', np.ones(len(y_photo), bool), x_photo, y_photo)):
            rows = rows & ~np.isnan(answer)
            chance = 1 / (1 + np.exp(-(values[rows] @ weight + bias)))
            told = (chance >= 0.7) | (chance <= 0.3)
            yes = answer[rows] == 1
            entry[f'{which}_told'] = {
                'told': round(float(told.mean()), 3),
                'right_of_told': round(float(((chance > 0.5) == yes)[told].mean()), 3),
                'yes_found': round(float((chance[yes] >= 0.7).mean()), 3) if yes.any() else None,
                'no_kept': round(float((chance[~yes] <= 0.3).mean()), 3),
                'no_taken_for_yes': round(float((chance[~yes] >= 0.7).mean()), 3),
            }
        report[name] = entry

    out = Path(options.out)
    about = {'source': 'training/card/gates.py, learnt from renders alone', 'licence': 'MIT'}
    save_file(probes, out / 'identity/weights/card.safetensors', about)
    with open(out / 'docs/measurements/identity-card.json', 'w') as f:
        json.dump(report, f, indent=1)
        f.write('\n')


if __name__ == '__main__':
    main()
