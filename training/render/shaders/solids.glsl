// Teeth, hats, collars, glasses and things held: one material each.
uniform vec3 cloth_accent;

void paint(inout Surface s, vec3 view, bool inside, inout float lit, inout vec3 extra) {
    vec3 t = v_rest;
    s.rough = .8;
    if (v_kind == TEETH) { s.albedo = vec3(.93, .91, .87); s.rough = .35; s.wrap = vec3(.7); s.occlusion = .8; lit = mix(lit, 1., .6); }
    else if (v_kind == TONGUE) { s.albedo = vec3(.55, .19, .18); s.rough = .4; s.soft = 1.; }
    else if (v_kind == CLOTH) { s.albedo *= .9 + .2 * noise(t * 22.); s.sheen = .4; }
    else if (v_kind == GLOSS) { s.rough = .3; s.specular = .05; }
    else if (v_kind == METAL) { s.rough = .3; s.metal = 1.; }
    else if (v_kind == SHELL) { s.rough = .35; if (inside) s.albedo *= .55; }
    else if (v_kind == LEATHER) { s.rough = .45; s.specular = .05; s.albedo *= .85 + .3 * noise(t * 12.); }
    else if (v_kind == GLOW) { extra = s.albedo * .8; }
    else if (v_kind == FUR) {
        float tufts = noise(t * vec3(14., 9., 14.));
        s.albedo *= .72 + .5 * tufts;
        s.n = normalize(s.n + .8 * (vec3(tufts, noise(t * 14. + 3.), noise(t * 14. + 7.)) - .5));
        s.wrap = vec3(.5); s.sheen = .8; s.rough = 1.;
    } else if (v_kind == KNIT) {
        float ribs = abs(sin(atan(t.x, t.z) * 26.));
        s.albedo *= .68 + .36 * ribs;
        s.sheen = .5;
    } else if (v_kind == MAIL) {
        vec2 links = vec2(atan(t.x, t.z) * 22., t.y * 16.);
        links.x += .5 * mod(floor(links.y), 2.);
        float r = length(fract(links) - .5);
        s.albedo *= .35 + .9 * smoothstep(.16, .26, r) * smoothstep(.5, .4, r);
        s.metal = .85; s.rough = .45;
    } else if (v_kind == STARS) {
        vec2 cell = vec2(atan(t.x, t.z) * 3.2, t.y * 4.2), q = fract(cell) - .5 - .35 * (vec2(hash(vec3(floor(cell), 2.)), hash(vec3(floor(cell), 5.))) - .5);
        float a = atan(q.x, q.y), r = length(q) * (1. + .35 * cos(5. * a));
        s.albedo = mix(s.albedo, vec3(.95, .72, .2), smoothstep(.22, .18, r));
        s.sheen = .4;
    } else if (v_kind == DOTS) {
        vec2 cell = vec2(atan(t.x, t.z) * 7., t.y * 7.);
        cell.x += .5 * mod(floor(cell.y), 2.);
        s.albedo = mix(s.albedo, vec3(.9), smoothstep(.24, .19, length(fract(cell) - .5)));
    } else if (v_kind == STRAW) {
        float a = atan(t.x, t.z), r = length(t.xz);
        s.albedo *= .72 + .3 * abs(sin(r * 42. + t.y * 42.)) + .12 * sin(a * 60.);
        s.sheen = .3;
    } else if (v_kind == FOOTBALL) {
        // twelve dark patches at the corners of an icosahedron
        vec3 d = normalize(t);
        float near = 0.;
        const float g = 1.618;
        for (int i = 0; i < 12; i++) {
            vec2 signs = vec2((i & 1) == 0 ? 1. : -1., (i & 2) == 0 ? 1. : -1.);
            vec3 corner = i < 4 ? vec3(0., signs.x, signs.y * g) : i < 8 ? vec3(signs.x, signs.y * g, 0.) : vec3(signs.y * g, 0., signs.x);
            near = max(near, dot(d, normalize(corner)));
        }
        s.albedo = mix(vec3(.85), vec3(.03), smoothstep(.925, .935, near));
        s.rough = .4;
    } else if (v_kind == LACQUER) {
        s.rough = .22; s.specular = .06;
    } else if (v_kind == PETALS) {
        float a = atan(t.x, t.y);
        s.albedo *= .7 + .4 * abs(sin(a * 9.));
    }
}
