// What is painted on the shirt-shaped cloth of the upper body; GARMENT_DRAWN chooses the cut.  `t` is the place on the template.
uniform vec3 cloth_colour, cloth_accent, cloth_third;
const int PLAIN = 0, STRIPED = 1, COAT = 2, CHEF = 3, ROBE = 4, TURNOUT = 5, SPACESUIT = 6, PLATE = 7, JERSEY = 8, JACKET = 9,
          SCRUBS = 10, TRENCH = 11, DUNGAREES = 12, CLOAK = 13, LAMELLAR = 14, HERO = 15, SMOCK = 16, WETSUIT = 17, HOODIE = 18,
          BUTTONED = 19, GOWN = 20, SANTA = 21;

float band(float x, float low, float high) { return smoothstep(low - .012, low + .012, x) * smoothstep(high + .012, high - .012, x); }

float star(vec2 p, float size) {
    float a = atan(p.x, p.y), k = 3.14159 / 5.;
    a = mod(a + k, 2. * k) - k;
    vec2 q = length(p) * vec2(cos(a), abs(sin(a)));
    float edge = dot(q - vec2(size, 0.), normalize(vec2(.59, .81)));
    return smoothstep(.015, -.015, edge);
}

void jacket(inout Surface s, float side, float front, float opening_at, float lapel_width, vec3 inner_colour) {
    vec3 t = v_rest;
    float opening = opening_at + .42 * (t.y - 4.95), lapel = opening + lapel_width;
    float inner = smoothstep(opening + .012, opening - .012, side) * front;
    float on_lapel = smoothstep(lapel + .012, lapel - .012, side) * front * (1. - inner);
    s.albedo = mix(s.albedo, s.albedo * .84, on_lapel);
    s.albedo *= 1. - .55 * front * (band(side, opening - .01, opening + .012) + .6 * band(side, lapel - .01, lapel + .012));
    s.albedo = mix(s.albedo, inner_colour, inner);
}

void paint(inout Surface s, vec3 view, bool inside, inout float lit, inout vec3 extra) {
    vec3 t = v_rest;
    int style = GARMENT_DRAWN;
    float front = smoothstep(.1, .3, t.z), side = abs(t.x), folds = .2;
    s.albedo = cloth_colour;
    s.rough = .85;
    s.specular = .02;
    s.sheen = .4;
    if (style == STRIPED) s.albedo = mix(cloth_colour, cloth_accent, smoothstep(.42, .5, abs(fract(t.y * 2.9) - .5) * 2.));
    if (style == COAT) jacket(s, side, front, .10, .26, cloth_accent);
    if (style == TRENCH) {
        jacket(s, side, front, .08, .34, cloth_accent);
        s.albedo *= 1. - .4 * front * band(side, 1.02, 1.05);
        float button = smoothstep(.06, .045, length(vec2(side - .42, fract(t.y * 2.4) / 2.4 - .2)));
        s.albedo = mix(s.albedo, vec3(.12, .06, .03), button * front * step(t.y, 5.3));
    }
    if (style == JACKET) {
        s.rough = .42;
        s.specular = .06;
        s.albedo *= .85 + .3 * noise(t * 9.);
        jacket(s, side, front, .16, .3, cloth_accent);
        float opening = .16 + .42 * (t.y - 4.95);
        float stud = smoothstep(.04, .03, length(vec2(side - opening - .40, fract(t.y * 5.) / 5. - .1)));
        s.albedo = mix(s.albedo, vec3(.75), max(stud, band(side, opening - .018, opening + .018)) * front);
    }
    if (style == CHEF) {
        s.albedo *= 1. - .35 * front * band(t.x, .45, .475);
        vec2 button = vec2(abs(t.x) - .27, fract(t.y * 3.6) / 3.6 - .14);
        s.albedo = mix(s.albedo, cloth_accent, smoothstep(.062, .045, length(button)) * front * smoothstep(5.72, 5.68, t.y));
    }
    if (style == ROBE) {
        float collar = smoothstep(1.32, 1.29, neck_distance(t));
        vec3 cell = t * vec3(4.5, 4.5, 4.5) + vec3(.5 * floor(t.y * 4.5), 0., 0.);
        vec2 spot = fract(cell.xy) - vec2(.3 + .4 * hash(floor(vec3(cell.xy, 1.))), .5);
        vec3 ermine = vec3(.9, .88, .84) * (1. - .85 * smoothstep(.19, .12, length(spot * vec2(1.6, .8))));
        s.albedo = mix(s.albedo, ermine, collar);
        s.albedo = mix(s.albedo, vec3(.85, .6, .15), band(side, .02, .09) * front * (1. - collar));
    }
    if (style == TURNOUT) {
        float stripe = max(band(t.y, 5.22, 5.44), band(side, 1.42, 1.62) * step(5.2, t.y));
        float inner = max(band(t.y, 5.30, 5.36), band(side, 1.50, 1.55) * step(5.2, t.y));
        s.albedo = mix(s.albedo, mix(cloth_accent, vec3(.85), inner), stripe);
        s.albedo *= 1. - .5 * front * band(t.x, -.015, .015);
    }
    if (style == SPACESUIT) {
        s.albedo *= 1. - .35 * (band(side, .93, .955) + band(t.y, 5.43, 5.45) * front);
        s.albedo = mix(s.albedo, cloth_accent, band(side, 1.35, 1.55));
        vec2 patch_at = vec2(t.x - .6, t.y - 5.55);
        s.albedo = mix(s.albedo, vec3(.08, .18, .55), smoothstep(.145, .13, length(patch_at)) * front);
        s.albedo = mix(s.albedo, vec3(.9), smoothstep(.055, .04, length(patch_at)) * front);
        s.albedo = mix(s.albedo, vec3(.7, .1, .1), band(t.x, -.76, -.46) * band(t.y, 5.46, 5.62) * front);
    }
    if (style == PLATE) {
        s.metal = 1.;
        s.rough = .3;
        folds = 0.;
        s.albedo *= 1. - .5 * (band(neck_distance(t), .98, 1.02) + band(side, 1.3, 1.34) + front * band(t.x, -.012, .012));
    }
    if (style == JERSEY) {
        s.albedo = mix(cloth_colour, cloth_accent, smoothstep(-.06, .06, sin(t.x * 9.) - .0) * step(side, 1.25));
        s.albedo = mix(s.albedo, cloth_accent, band(side, 1.25, 1.4));
        vec2 badge = vec2(t.x - .55, t.y - 5.4);
        s.albedo = mix(s.albedo, vec3(.9, .75, .2), smoothstep(.15, .13, length(badge)) * front);
        s.albedo = mix(s.albedo, cloth_colour * .6, smoothstep(.09, .07, length(badge)) * front);
        s.albedo = mix(s.albedo, cloth_accent, smoothstep(.06, .04, abs(neck_distance(t) - neckline - .05)));
    }
    if (style == SCRUBS) {
        float v_edge = .30 + .55 * (t.y - 5.75);
        s.albedo = mix(s.albedo, cloth_accent, smoothstep(v_edge + .015, v_edge - .015, side) * front * step(4.9, t.y));
        s.albedo *= 1. - .3 * front * band(side, v_edge + .03, v_edge + .07) * step(5.2, t.y);
        vec2 pocket = vec2(t.x - .62, t.y - 5.05);
        s.albedo *= 1. - .35 * front * (band(abs(pocket.x), .23, .25) * step(abs(pocket.y), .2) + band(pocket.y, .18, .21) * step(abs(pocket.x), .24));
    }
    if (style == DUNGAREES) {
        vec2 squares = abs(fract(t.xy * vec2(3.2, 3.2)) - .5);
        float check = .5 * smoothstep(.22, .26, squares.x) + .5 * smoothstep(.22, .26, squares.y);
        s.albedo = mix(cloth_accent, vec3(.85, .82, .75), check * .8);
        float bib = step(t.y, 5.22) * smoothstep(.66, .64, side), over = smoothstep(.18, .16, abs(side - .52));
        float denim = max(bib * front, over * step(t.z, 9.));
        s.albedo = mix(s.albedo, cloth_colour * (.85 + .3 * noise(t * 20.)), denim);
        s.albedo = mix(s.albedo, vec3(.85, .65, .2), smoothstep(.075, .055, length(vec2(side - .52, t.y - 5.26))) * front);
    }
    if (style == CLOAK) {
        jacket(s, side, front, .0, .1, cloth_accent);
        s.albedo *= .85 + .3 * noise(t * 8.);
    }
    if (style == LAMELLAR) {
        folds = 0.;
        float row = fract(t.y * 3.4), column = fract(t.x * 3.2 + .5 * floor(t.y * 3.4));
        s.rough = .3; s.specular = .06;
        s.albedo = mix(cloth_colour * (.8 + .4 * row), cloth_accent, band(column, .38, .62) * band(row, .15, .75));
        s.albedo *= 1. - .6 * (smoothstep(.10, .04, row) + .5 * smoothstep(.05, .02, abs(column - .02)));
    }
    if (style == HERO) {
        vec2 p = vec2(t.x, (t.y - 5.30));
        float shield = smoothstep(.44, .42, length(p * vec2(1., 1.1)));
        s.albedo = mix(s.albedo, cloth_accent, shield * front);
        s.albedo = mix(s.albedo, cloth_third, star(p, .38) * front);
        s.albedo = mix(s.albedo, cloth_accent, band(side, 1.2, 1.3));
        s.rough = .5; s.specular = .04;
    }
    if (style == SMOCK) {
        vec3 cell = vec3(floor(t.xy * 2.6), 1.);
        vec2 q = fract(t.xy * 2.6) - .5 - .5 * (vec2(hash(cell), hash(cell + 3.)) - .5);
        float r = .10 + .16 * hash(cell + 7.), blot = smoothstep(r, r * .8, length(q) + .12 * (noise(t * 9.) - .5));
        float pick = hash(cell + 11.);
        vec3 ink = pick < .25 ? vec3(.75, .08, .1) : pick < .5 ? vec3(.05, .25, .7) : pick < .75 ? vec3(.9, .6, .05) : vec3(.1, .5, .2);
        s.albedo = mix(s.albedo, ink, blot * step(.25, hash(cell + 5.)) * front);
        s.albedo *= 1. - .3 * front * band(t.x, -.012, .012);
    }
    if (style == WETSUIT) {
        s.rough = .4; s.specular = .05; s.sheen = .1;
        s.albedo = mix(cloth_colour, cloth_accent, band(side, .75, 1.05) + band(side, 1.5, 1.7));
        s.albedo = mix(s.albedo, vec3(.6), front * band(t.x, -.02, .02));
    }
    if (style == HOODIE) {
        float cord = smoothstep(.035, .022, abs(side - .26 + .05 * sin(t.y * 3.))) * front * step(5.05, t.y) * step(t.y, 5.75);
        s.albedo = mix(s.albedo, vec3(.85), cord);
        s.albedo *= 1. - .3 * front * band(t.y, 4.9, 4.93);
    }
    if (style == BUTTONED) {
        s.albedo *= 1. - .35 * front * (band(t.x, .075, .09) + band(t.x, -.09, -.075));
        float button = smoothstep(.045, .03, length(vec2(t.x, fract(t.y * 2.8) / 2.8 - .17)));
        s.albedo = mix(s.albedo, cloth_accent, button * front);
    }
    if (style == GOWN) {
        float opening = .14 + .34 * (t.y - 4.95);
        s.albedo = mix(s.albedo, cloth_accent, smoothstep(opening + .012, opening - .012, side) * front);
        float stole = opening + .42;
        s.albedo = mix(s.albedo, cloth_third, smoothstep(stole + .012, stole - .012, side) * front * step(opening, side));
    }
    if (style == SANTA) {
        s.albedo = mix(s.albedo, vec3(.9), band(side, .0, .15) * front);
        float button = smoothstep(.075, .06, length(vec2(t.x, fract(t.y * 2.) / 2. - .25)));
        s.albedo = mix(s.albedo, vec3(.03), button * front);
    }
    float weave = noise(t * 32.);
    s.albedo *= mix(.93 + .14 * weave, 1., s.metal);
    s.n = normalize(s.n + folds * (vec3(noise(t * 3.6), noise(t * 3.6 + 4.), noise(t * 3.6 + 8.)) - .5));
    s.albedo *= mix(.72, 1., smoothstep(.02, .08, neck_distance(t) - neckline));
}
