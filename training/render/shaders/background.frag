// Places, painted flat behind the person.  `at` runs from 0 to 1, y upwards.
in vec2 at;
out vec4 colour;
uniform int place;
uniform vec3 backdrop, tone_light;
uniform float seed;
const int STUDIO = 0, BEACH = 1, SUNSET = 2, CITY = 3, FOREST = 4, GARDEN = 5, BRICK = 6, SNOW = 7, MOUNTAINS = 8, SPACE = 9,
          KITCHEN = 10, CASTLE = 11, NIGHT_FOREST = 12, SEA = 13, FLAMES = 14, LABORATORY = 15, DESERT = 16;

float h(vec2 p) { return fract(sin(dot(p, vec2(127.1, 311.7)) + seed) * 43758.5453); }

float smooth_noise(vec2 x) {
    vec2 i = floor(x), f = fract(x);
    f = f * f * (3. - 2. * f);
    return mix(mix(h(i), h(i + vec2(1, 0)), f.x), mix(h(i + vec2(0, 1)), h(i + vec2(1, 1)), f.x), f.y);
}

float cloudy(vec2 p) { return .5 * smooth_noise(p) + .3 * smooth_noise(p * 2.1) + .2 * smooth_noise(p * 4.2); }

float ridge(float x, float base, float height, float steps) {
    float coarse = smooth_noise(vec2(x * steps, 3.)), middle = smooth_noise(vec2(x * steps * 2.3, 7.));
    float fine = smooth_noise(vec2(x * steps * 6., 9.));
    return base + height * (.6 * coarse + .3 * middle + .1 * fine);
}

vec3 lights(vec3 c, int count, float size, vec3 warm, vec3 cool, float strength) {
    for (int i = 0; i < count; i++) {
        float k = float(i);
        float r = size * (.5 + h(vec2(k, 3.))), d = length(at - vec2(h(vec2(k, 1.)), h(vec2(k, 2.))));
        c += mix(warm, cool, h(vec2(k, 4.))) * smoothstep(r, r * .75, d) * strength;
    }
    return c;
}

vec3 sky_with_clouds(vec3 low, vec3 high, float horizon) {
    float y = clamp((at.y - horizon) / (1. - horizon), 0., 1.);
    return mix(mix(low, high, y), vec3(.95), .55 * smoothstep(.5, .75, cloudy(at * vec2(3., 7.))));
}

vec3 trunks(vec3 c, vec3 bark, int count) {
    for (int i = 0; i < count; i++) {
        float k = float(i), x = (k + .2 + .6 * h(vec2(k, 5.))) / float(count), w = .018 + .03 * h(vec2(k, 6.));
        c = mix(c, bark * (.7 + .5 * smooth_noise(vec2(at.x * 40., at.y * 5.))), smoothstep(w, w * .75, abs(at.x - x + .02 * at.y)));
    }
    return c;
}

vec3 tiles(vec2 grid, vec3 face, vec3 joint, float shift, float variation, float gap) {
    vec2 g = at * grid;
    g.x += shift * mod(floor(g.y), 2.);
    vec2 f = fract(g), edge = gap * grid / grid.y;
    vec2 sides = smoothstep(vec2(0.), edge, f) * smoothstep(vec2(1.), 1. - edge, f);
    float inside = sides.x * sides.y;
    return mix(joint, face * (1. - variation + 2. * variation * h(floor(g))), inside);
}

void main() {
    vec3 c = mix(backdrop * 1.15 + .05, backdrop * .6, smoothstep(.1, .9, length(at - vec2(.5, .55))));
    if (place == BEACH) {
        c = sky_with_clouds(vec3(.62, .82, .95), vec3(.22, .5, .85), .48);
        if (at.y < .48) c = mix(vec3(.06, .45, .55), vec3(.25, .68, .7), smoothstep(.48, .3, at.y));
        float shore = .28 + .02 * sin(at.x * 9. + seed);
        if (at.y < shore) c = vec3(.85, .7, .45) * (.9 + .15 * cloudy(at * 14.));
        c = mix(c, vec3(.95), smoothstep(.02, .0, abs(at.y - shore)));
    } else if (place == SUNSET) {
        c = mix(vec3(1., .42, .12), vec3(.32, .16, .42), smoothstep(.3, 1., at.y));
        c = mix(c, vec3(1., .62, .35), .6 * smoothstep(.5, .75, cloudy(at * vec2(2.5, 9.))));
        c += vec3(1., .75, .3) * smoothstep(.11, .1, length(at - vec2(.2 + .6 * h(vec2(1., 1.)), .5)));
        c = mix(c, vec3(.14, .07, .12), smoothstep(.01, -.01, at.y - ridge(at.x, .3, .1, 4.)));
    } else if (place == CITY) {
        c = mix(vec3(.4, .3, .5), vec3(.12, .15, .32), at.y);
        float tower = floor(at.x * 9.), top = .35 + .45 * h(vec2(tower, 11.));
        if (at.y < top) {
            vec2 pane = floor(at * vec2(45., 34.));
            c = vec3(.16, .17, .27) + step(.8, h(pane)) * vec3(.8, .6, .3) * (.4 + .5 * h(pane + 5.));
        }
        c = lights(c, 18, .04, vec3(1., .55, .2), vec3(.25, .5, 1.), .4);
    } else if (place == FOREST || place == NIGHT_FOREST) {
        c = mix(vec3(.1, .2, .05), vec3(.28, .48, .14), cloudy(at * vec2(6., 7.)));
        c = mix(c, vec3(.75, .85, .45), .75 * smoothstep(.45, .8, cloudy(at * 5. + 4.)) * at.y);
        c = trunks(c, vec3(.16, .09, .05), 7);
        c = mix(c, vec3(.12, .24, .06) * (.7 + .6 * cloudy(at * 12.)), smoothstep(.24, .16, at.y));
        if (place == NIGHT_FOREST) {
            c = c * vec3(.25, .4, .75) + vec3(.08, .1, .2);
            c += vec3(.85, .88, .8) * smoothstep(.085, .078, length(at - vec2(.18 + .1 * h(vec2(1., 1.)), .83)));
            c = lights(c, 14, .008, vec3(.7, .9, .3), vec3(.4, .8, .6), .8);
        }
    } else if (place == GARDEN) {
        c = mix(vec3(.12, .3, .08), vec3(.35, .58, .18), cloudy(at * 9.));
        c = mix(c, vec3(.55, .75, .9), smoothstep(.68, .8, at.y + .12 * cloudy(at * 6.)));
        for (int i = 0; i < 26; i++) {
            float k = float(i), pick = h(vec2(k, 4.));
            vec3 petal = pick < .34 ? vec3(.85, .15, .25) : pick < .67 ? vec3(.95, .75, .15) : vec3(.85, .45, .8);
            float d = length(at - vec2(h(vec2(k, 1.)), .65 * h(vec2(k, 2.)))), r = .022 + .02 * h(vec2(k, 3.));
            c = mix(c, mix(vec3(.95, .85, .5), petal, smoothstep(.2, .4, d / r)), smoothstep(r, r * .8, d));
        }
    } else if (place == BRICK) {
        c = tiles(vec2(5., 11.), vec3(.42, .16, .11), vec3(.5, .46, .42), .5, .25, .09) * (.9 + .2 * cloudy(at * 20.));
    } else if (place == SNOW) {
        c = mix(vec3(.78, .85, .93), vec3(.5, .65, .85), at.y);
        for (int i = 0; i < 7; i++) {
            float k = float(i), x = (k + h(vec2(k, 1.))) / 7., foot = .3 + .05 * h(vec2(k, 2.)), tall = .3 + .2 * h(vec2(k, 3.));
            float y = at.y - foot, bough = fract(y * 14.), w = .1 * (1. - y / tall) * (.7 + .3 * bough);
            vec3 fir = mix(vec3(.1, .22, .17), vec3(.9), .65 * bough);
            if (y > 0. && y < tall) c = mix(c, fir, smoothstep(w, w * .85, abs(at.x - x)));
        }
        if (at.y < .34 + .03 * sin(at.x * 7. + seed)) c = vec3(.86, .9, .96) * (.92 + .12 * cloudy(at * 8.));
        c = lights(c, 30, .007, vec3(1.), vec3(.9), .6);
    } else if (place == MOUNTAINS) {
        c = sky_with_clouds(vec3(.75, .86, .95), vec3(.3, .52, .85), .3);
        float far = ridge(at.x, .42, .4, 4.), near = ridge(at.x + 3., .25, .2, 5.);
        if (at.y < far) c = mix(vec3(.33, .38, .5), vec3(.93, .95, 1.), smoothstep(.66, .72, at.y + .1 * cloudy(at * 14.)));
        if (at.y < near) c = vec3(.13, .3, .14) * (.8 + .4 * cloudy(at * 18.));
    } else if (place == SPACE) {
        c = mix(vec3(.012, .015, .045), vec3(.1, .04, .17), cloudy(at * 3.));
        vec2 cell = floor(at * 26.), q = fract(at * 26.) - .5 - .6 * (vec2(h(cell), h(cell + 9.)) - .5);
        c += step(.55, h(cell + 3.)) * smoothstep(.16, .05, length(q)) * (.5 + h(cell + 5.));
        vec2 p = (at - vec2(h(vec2(1., 1.)) < .5 ? .14 : .86, .72)) / .2;
        if (length(p) < 1.) {
            float lit = clamp(dot(vec3(p, sqrt(1. - dot(p, p))), vec3(-.5, .5, .7)), .04, 1.);
            vec3 land = mix(vec3(.1, .3, .75), vec3(.2, .5, .2), smoothstep(.48, .54, cloudy(p * 2.2 + 5.)));
            c = mix(land, vec3(.95), .8 * smoothstep(.5, .65, cloudy(p * vec2(2.5, 5.) + 9.))) * lit;
        }
    } else if (place == KITCHEN) {
        c = tiles(vec2(7., 7.), vec3(.74, .82, .82), vec3(.55, .6, .6), 0., .06, .06);
        if (at.y > .74 && at.y < .77) c = vec3(.42, .25, .12);
        for (int i = 0; i < 5; i++) {
            vec2 p = at - vec2(.1 + .2 * float(i), .62);
            vec3 pan = h(vec2(float(i), 2.)) < .5 ? vec3(.62, .3, .14) : vec3(.25, .26, .28);
            c = mix(c, pan * (.8 + 2. * (p.x + .07)), smoothstep(.07, .065, length(p)));
            c = mix(c, vec3(.12), smoothstep(.012, .008, abs(p.x)) * step(.06, p.y) * step(p.y, .12));
        }
        if (at.y < .2) c = vec3(.5, .52, .55) * (.9 + .2 * at.y);
    } else if (place == CASTLE) {
        c = tiles(vec2(5., 8.), vec3(.36, .33, .31), vec3(.2, .19, .18), .5, .12, .06) * (.9 + .25 * cloudy(at * 12.));
        for (int i = 0; i < 2; i++) {
            float s = i == 0 ? .17 : .83;
            vec2 p = at - vec2(s, .62);
            float arch = max(abs(p.x), length(vec2(p.x, max(p.y - .1, 0.) * .75)));
            if (p.y > -.3) c = mix(c, vec3(.55, .75, .95), smoothstep(.085, .08, arch) * (.75 + .25 * step(.008, abs(p.x))));
            c = mix(c, vec3(.55, .06, .08) * (.75 + .25 * sin(at.x * 160.)), step(abs(at.x - s + (i == 0 ? .15 : -.15)), .05));
        }
    } else if (place == SEA) {
        c = sky_with_clouds(vec3(.8, .88, .93), vec3(.3, .55, .8), .4);
        if (at.y < .4) {
            float waves = sin(at.y * 130. + 3. * smooth_noise(at * vec2(14., 40.)));
            c = mix(vec3(.03, .2, .36), vec3(.16, .45, .58), .5 + .5 * waves * smoothstep(.42, .1, at.y));
        }
    } else if (place == FLAMES) {
        float f = cloudy(vec2(at.x * 5., at.y * 2.6 - 2.)) + .75 - at.y;
        c = mix(vec3(.1, .02, .02), vec3(.85, .16, .02), smoothstep(.35, .7, f));
        c = mix(c, vec3(1., .62, .1), smoothstep(.7, 1., f));
        c = lights(c, 20, .03, vec3(1., .45, .1), vec3(1., .75, .3), .35);
    } else if (place == LABORATORY) {
        c = vec3(.55, .66, .72);
        float shelf = fract(at.y * 4.);
        vec2 slot = vec2(floor(at.x * 9.), floor(at.y * 4.));
        float kind = h(slot), x = fract(at.x * 9.) - .5, w = kind < .5 ? .3 * (1. - .8 * shelf) + .05 : .18;
        vec3 liquid = h(slot + 3.) < .33 ? vec3(.15, .7, .35) : h(slot + 3.) < .66 ? vec3(.2, .4, .9) : vec3(.9, .35, .6);
        vec3 glass = shelf < .45 ? liquid : vec3(.8, .9, .95);
        if (shelf > .1 && shelf < .72 && h(slot + 7.) < .8) c = mix(c, glass, smoothstep(w, w * .85, abs(x)));
        if (shelf < .08) c = vec3(.9);
    } else if (place == DESERT) {
        c = mix(vec3(.95, .8, .6), vec3(.35, .6, .88), smoothstep(.4, 1., at.y));
        float mesa = .42 + .2 * step(.5, smooth_noise(vec2(at.x * 4., 2.)));
        if (at.y < mesa) c = vec3(.6, .28, .16) * (.85 + .3 * smooth_noise(vec2(at.x * 3., at.y * 30.)));
        if (at.y < ridge(at.x, .28, .12, 3.)) c = vec3(.85, .58, .32) * (.9 + .2 * cloudy(at * vec2(4., 16.)));
    }
    colour = vec4(c * c * (.55 + .3 * c) * 1.25 * tone_light, 1.);
}
