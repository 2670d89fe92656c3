// Hair and beards: locks along the second texture coordinate, a soft gleam across them.
uniform vec3 hair_colour, beard_colour;
uniform float hair_curl, hair_fuzz;

void paint(inout Surface s, vec3 view, bool inside, inout float lit, inout vec3 extra) {
    vec3 base = v_kind == BEARD ? beard_colour : hair_colour, t = v_rest;
    vec2 u = v_uv;
    s.rough = .55;
    s.specular = .0;
    s.wrap = vec3(.35);
    s.sheen = .35;
    if (v_kind == BEARD) {
        float strands = noise(vec3(t.x * 34., t.y * 7., t.z * 20.)), locks = noise(vec3(t.x * 13., t.y * 4., t.z * 9.));
        s.albedo = base * (.72 + .25 * strands + .3 * locks);
        s.n = normalize(s.n + .35 * vec3(locks - .5, .2 * (strands - .5), locks - .5));
        s.occlusion = mix(.55, 1., smoothstep(0., .12, beard_depth(t)));
        return;
    }
    float locks, strands;
    if (v_kind == SCULPT && hair_curl > 0.) {
        locks = noise(t * 7.5);
        strands = noise(t * 16.);
        s.albedo = base * (.45 + .75 * locks + .25 * strands);
        s.n = normalize(s.n + .9 * (vec3(locks, noise(t * 7.5 + 5.), noise(t * 7.5 + 9.)) - .5));
        s.sheen = .2;
        return;
    }
    locks = noise(vec3(u.x * 9., u.y * .7, 8.));
    strands = noise(vec3(u.x * 31., u.y * 1.2, 3.));
    float tufts = noise(vec3(t.x * 12., t.y * 8., t.z * 9.));
    s.albedo = base * (.62 + .42 * locks + .22 * strands) * mix(1., .62 + .7 * tufts, hair_fuzz);
    vec3 along = normalize(v_tint.rgb - s.n * dot(v_tint.rgb, s.n) + vec3(0., 1e-5, 0.));
    vec3 across = cross(along, s.n);
    s.n = normalize(s.n + across * ((locks - .5) * .5 + (strands - .5) * .2));
    s.n = normalize(s.n + hair_fuzz * .8 * (vec3(tufts, noise(t * 11. + 4.), noise(t * 11. + 8.)) - .5));
    vec3 halfway = normalize(view + key_direction);
    float h = dot(along, halfway) + .12 * (strands - .5);
    float narrow = pow(max(1. - h * h, 0.), 60.), wide = pow(max(1. - h * h, 0.), 12.);
    float facing = smoothstep(-.2, .6, dot(s.n, key_direction));
    float top = dot(along, normalize(view + vec3(0., .9, 0.)));
    float halo = pow(max(1. - top * top, 0.), 30.) * smoothstep(.0, .7, s.n.y + .3);
    vec3 gleam = base * 1.3 + .06;
    extra = s.occlusion * (key_colour * lit * facing * gleam * (.34 * narrow + .18 * wide) * (1. - .5 * hair_fuzz) + sky * gleam * halo * .5 * (1. - .6 * hair_fuzz));
    if (inside) s.albedo *= .45;
}
