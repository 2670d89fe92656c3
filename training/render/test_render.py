"""Tests that need no drawing: python -m unittest test_render"""

import dataclasses
import json
import os
import re
import unittest
from types import SimpleNamespace

import numpy as np

import roles
import shots
from beards import beard_depth
from camera import photo_of
from captions import SEEN, article, clauses, identity, sentences, vocabulary
from card_faces import truth
from hats import HATS, TALL
from lab import lab, linear_of_lab
from palette import linear
from people import HAIR_PHRASES, MENS, WOMENS, sample_person, undertoned
from props import PROPS
from renderer import PARTS
from sculpted_hair import HAIRLINE_AT, STYLES
from stylise import Warp

HERE = os.path.dirname(os.path.abspath(__file__))


def someone(**changes):
    who = dict(sex='man', age_name='young', skin_name='tan', hair_style='bun', beard='full', beard_phrase='full beard',
               glasses='red', glasses_phrase='red glasses', hair_phrase=lambda whole: 'brown bun' if whole else 'brown hair tied back')  # fmt: skip
    return SimpleNamespace(**{**who, **changes})


def share(**changes):
    return {**dict.fromkeys(PARTS, 0.0), 'skin': 0.2, **changes}


def shot_of(person_number, number):
    return shots.sample_shot(1, SimpleNamespace(number=person_number, hair_style='crop', sex='woman'), number)


class Truth(unittest.TestCase):
    plain = roles.Outfit('red t-shirt', 'plain', 'red')

    def test_what_is_hidden_is_not_named(self):
        hidden = identity(someone(), self.plain, share())
        self.assertEqual((hidden['beard'], hidden['glasses'], hidden['hair_visible']), (None, None, False))
        self.assertEqual(hidden['hair'], 'brown hair tied back')

    def test_what_is_seen_is_named(self):
        seen = identity(someone(), self.plain, share(hair=0.1, tail=0.02, beard=0.02, glasses=0.01))
        self.assertEqual((seen['beard'], seen['glasses'], seen['hair_visible']), ('full beard', 'red glasses', True))
        self.assertEqual(seen['hair'], 'brown bun')

    def test_short_hair_under_a_hat_is_not_named(self):
        hat = roles.Outfit('red t-shirt', 'plain', 'red', hat='beanie')
        self.assertFalse(identity(someone(hair_style='quiff'), hat, share(hair=0.1, hat=0.1))['hair_visible'])
        self.assertTrue(identity(someone(hair_style='long'), hat, share(hair=0.1, hat=0.1))['hair_visible'])

    def test_a_hat_out_of_the_frame_is_not_named(self):
        shot = shot_of(500, 3)
        shot.outfit = roles.ROLES['wizard'][0]
        self.assertIsNone(clauses(someone(), shot, share(hat=SEEN['hat'] / 2))['hat'])
        self.assertEqual(clauses(someone(), shot, share(hat=0.1))['hat'], 'pointed purple hat with stars')

    def test_sentences_use_words_of_the_vocabulary(self):
        with open(os.path.join(HERE, 'vocabulary.json')) as f:
            words = set(json.load(f)['words'])
        random = np.random.default_rng(3)
        for number in range(100, 160):
            shot = shot_of(number, number % 8)
            what = clauses(someone(), shot, share(hat=0.1, clothes=0.2, prop=0.1))
            who = identity(someone(), shot.outfit, share(hair=0.1, tail=0.1, beard=0.1, glasses=0.1))
            for text in sentences(who, what, random):
                unknown = {w.strip(',') for w in text.split()} - words
                self.assertFalse(unknown, text)

    def test_the_vocabulary_file_is_up_to_date(self):
        with open(os.path.join(HERE, 'vocabulary.json')) as f:
            stored = json.load(f)
        stored.pop('words')
        self.assertEqual(stored, vocabulary())

    def test_articles(self):
        self.assertEqual(article('orange hoodie'), 'an orange hoodie')
        self.assertEqual(article('blue scrubs'), 'blue scrubs')


class CardFaces(unittest.TestCase):
    """The lines that training/card/gates.py reads, of people and shots as they are sampled."""

    everything = dict(hair=0.1, tail=0.1, beard=0.1, glasses=0.1, hat=0.1)

    @classmethod
    def setUpClass(cls):
        faceless = SimpleNamespace(sliders=dict, names=[])  # shapes do not matter here, and would need the head's data
        people = [sample_person(faceless, 7, number) for number in range(150)]
        cls.drawn = [(person, shots.sample_shot(7, person, k)) for person in people for k in range(3)]

    def lines(self, share):
        return [(person, shot, truth(person, shot, share, 'images/x.jpg')) for person, shot in self.drawn]

    def test_what_is_seen_is_told(self):
        lengths = set()
        for person, shot, line in self.lines(share(**self.everything)):
            json.dumps(line)
            self.assertEqual((line['sex'], line['light'], line['expression']), (person.sex, shot.light, shot.expression))
            self.assertEqual(line['beard'], person.beard or 'none')
            self.assertEqual((line['glasses'], line['hat']), (person.glasses is not None, shot.outfit.hat is not None))
            np.testing.assert_allclose((np.array(line['skin']) / 255) ** 2.2, person.skin, atol=0.02)
            self.assertEqual(line['hair'] is None, line['hat'] or person.hair_style in ('bald', 'buzz'))
            if not line['hat']:
                lengths.add((person.hair_style, line['hair_length']))
        self.assertLessEqual({*WOMENS, *MENS} - {'mohawk'}, {style for style, _ in lengths})
        for known in (('bald', 'bald'), ('buzz', 'short'), ('crop', 'short'), ('bob', 'long'), ('wavy', 'long'), ('bun', None)):
            self.assertEqual([length for style, length in lengths if style == known[0]], [known[1]], known)

    def test_what_is_hidden_is_null(self):
        for person, _, line in self.lines(share(skin=0.0)):
            self.assertEqual(line['beard'], None if person.beard else 'none')
            self.assertEqual(line['glasses'], None if person.glasses else False)
            self.assertIsNone(line['hair'])
            if person.hair_style not in ('bald', 'buzz'):
                self.assertIsNone(line['hair_length'])

    def test_the_pose_is_the_head_against_the_camera(self):
        for _, shot, line in self.lines(share()):
            turn = np.array(line['rotation'])
            np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-5)
            self.assertAlmostEqual(np.linalg.det(turn), 1, delta=1e-5)
        straight = dict(yaw=0.0, pitch=0.0, roll=0.0, camera_yaw=0.0, camera_pitch=0.0)
        person, shot = self.drawn[0]
        # yaw to the right of the picture, pitch up, roll clockwise; a camera that stands higher sees the head bowed
        for changes, pose in (
            (dict(yaw=20.0), [20, 0, 0]),
            (dict(pitch=10.0), [0, -10, 0]),
            (dict(roll=5.0), [0, 0, -5]),
            (dict(yaw=10.0, camera_yaw=30.0), [10, 0, 0]),
            (dict(camera_pitch=8.0), [0, -8, 0]),
        ):
            line = truth(person, dataclasses.replace(shot, **{**straight, **changes}), share(), 'images/x.jpg')
            np.testing.assert_allclose(line['pose'], pose, atol=1e-3)


class Sampling(unittest.TestCase):
    def test_held_out_pairs_are_shown_to_held_out_people_only(self):
        pairs, met = set(roles.HELD_OUT_PAIRS), 0
        for number in range(300):
            for k in range(8):
                shot = shot_of(number, k)
                together = (shot.role, shot.place) in pairs
                met += together
                self.assertFalse(together and number >= shots.HELD_OUT_PEOPLE)
        self.assertGreater(met, 50)

    def test_reference_shots_are_plain(self):
        for number in range(60):
            for k in range(shots.REFERENCE_SHOTS):
                shot = shot_of(number, k)
                self.assertIsNone(shot.role)
                self.assertIsNone(shot.outfit.hat)

    def test_a_shot_follows_from_its_numbers(self):
        self.assertEqual(shot_of(7, 4), shot_of(7, 4))
        self.assertNotEqual(shot_of(7, 4), shot_of(7, 5))

    def test_held_out_pairs_leave_every_role_its_own_place(self):
        own = {(role, outfit.place) for role, outfits in roles.ROLES.items() for outfit in outfits}
        self.assertFalse(own & set(roles.HELD_OUT_PAIRS))
        self.assertEqual({role for role, _ in roles.HELD_OUT_PAIRS}, set(roles.ROLES))

    def test_tables_name_what_exists(self):
        for outfits in roles.ROLES.values():
            for outfit in outfits:
                self.assertIn(outfit.style, roles.GARMENT_STYLES)
                self.assertIn(outfit.place, roles.PLACES)
                self.assertTrue(outfit.hat is None or outfit.hat in HATS)
                self.assertTrue(outfit.prop is None or outfit.prop in PROPS)
        self.assertTrue(set(TALL) <= set(HATS))
        self.assertTrue({*WOMENS, *MENS} <= set(HAIR_PHRASES))
        self.assertTrue(set(STYLES) <= set(HAIR_PHRASES))

    def test_python_and_shaders_count_alike(self):
        def constants(name):
            with open(os.path.join(HERE, 'shaders', name)) as f:
                return dict(re.findall(r'\b([A-Z_]+) = (\d+)\b', f.read()))

        places = constants('places.glsl')
        self.assertEqual(len(places), len(roles.PLACES))
        self.assertEqual(sorted(map(int, places.values())), list(range(len(roles.PLACES))))
        garments = constants('garments.glsl')
        self.assertEqual([garments[style.upper()] for style in roles.GARMENT_STYLES], [str(i) for i in range(len(garments))])


class Shapes(unittest.TestCase):
    def test_the_warp_enlarges_eyes_without_folds_and_lets_far_points_be(self):
        eyes = [np.array([0.308, 7.28, 1.245]), np.array([-0.308, 7.28, 1.245])]
        size = 1.4  # the largest of anybody (people.py)
        warp, step = Warp(eyes, size, 0.16), 1e-2
        near = eyes[0] + np.array([[step, 0, 0], [-step, 0, 0], [0, step, 0], [0, -step, 0]])
        moved = warp(near)
        self.assertAlmostEqual(np.linalg.norm(moved[2] - moved[3]) / (2 * step), size, delta=0.05)
        x, y = np.meshgrid(np.linspace(-0.8, 0.8, 60), np.linspace(5.5, 8.4, 90))
        grid = np.stack([x, y, np.full_like(x, 1.3)], -1)
        moved = warp(grid.reshape(-1, 3)).reshape(grid.shape)
        self.assertGreater(np.diff(moved[..., 0], axis=1).min(), 0)
        self.assertGreater(np.diff(moved[..., 1], axis=0).min(), 0)
        behind = np.array([[0.308, 7.28, 0.0]])
        np.testing.assert_allclose(warp(behind), behind, atol=1e-5)

    def test_beards_leave_the_mouth_and_the_nose_free(self):
        points = np.array([[0, 6.59, 1.55], [0.0, 6.95, 1.6], [0, 6.3, 1.45], [0.0, 6.76, 1.6], [0.3, 7.28, 1.3]])
        for cut, inside in (('full', [0, 0, 1, 1, 0]), ('moustache', [0, 0, 0, 1, 0]), ('goatee', [0, 0, 1, 1, 0])):
            self.assertEqual((beard_depth(points, cut) > 0).astype(int).tolist(), inside, cut)

    def test_the_hairline_is_highest_over_the_brow(self):
        self.assertLess(HAIRLINE_AT(0), HAIRLINE_AT(70))
        self.assertLess(HAIRLINE_AT(70), HAIRLINE_AT(180))

    def test_lab_of_white_and_grey(self):
        np.testing.assert_allclose(lab(np.ones(3)), [100, 0, 0], atol=0.5)
        self.assertAlmostEqual(lab(np.full(3, 0.184))[0], 50, delta=0.5)

    def test_lab_goes_back_to_the_colour_it_came_from(self):
        for colour in ([0.8, 0.5, 0.3], [0.02, 0.01, 0.005], [0.1, 0.2, 0.9]):
            np.testing.assert_allclose(linear_of_lab(lab(colour)), colour, atol=1e-3)

    def test_undertones_go_from_pink_to_golden_and_leave_the_lightness(self):
        skin = linear('dda47c')
        tones = np.array([lab(undertoned(skin, np.random.default_rng(n))) for n in range(200)])
        self.assertLess(np.abs(tones[:, 0] - lab(skin)[0]).max(), 1.5)
        low, middle, high = np.quantile(tones[:, 2], [0.1, 0.5, 0.9])
        self.assertTrue(low < 16 < middle < 24 < high, (low, middle, high))

    def test_a_photo_is_like_its_picture_but_not_the_same(self):
        y, x = np.mgrid[0:128, 0:128]
        picture = np.stack([x + 60, y + 60, (x + y) // 2 + 60], -1).astype(np.uint8)
        photos = [photo_of(picture, np.random.default_rng(k)) for k in range(12)]
        for photo in photos:
            self.assertEqual((photo.shape, photo.dtype), (picture.shape, np.uint8))
            self.assertGreater(np.corrcoef(photo.ravel(), picture.ravel())[0, 1], 0.8)
        differences = [np.abs(photo.astype(float) - picture).mean() for photo in photos]
        self.assertGreater(np.median(differences), 3)
        np.testing.assert_array_equal(photos[0], photo_of(picture, np.random.default_rng(0)))


if __name__ == '__main__':
    unittest.main()
