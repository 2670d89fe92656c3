// Noise, the edge of the beard, and the rule by which parts of a surface are left out; shared by all passes.
uniform float neckline;      // radius of the neck hole of the garment
uniform vec4 hair_plane;     // hair on the far side of this plane is hidden by a hat or a collar
uniform int beard_cut;       // 0 none, 1 stubble, 2 moustache, 3 goatee, 4 short beard, 5 full beard

float hash(vec3 p) {
    p = fract(p * .3183099 + .1);
    p *= 17.;
    return fract(p.x * p.y * p.z * (p.x + p.y + p.z));
}

float noise(vec3 x) {
    vec3 i = floor(x), f = fract(x);
    f = f * f * (3. - 2. * f);
    return mix(mix(mix(hash(i), hash(i + vec3(1, 0, 0)), f.x), mix(hash(i + vec3(0, 1, 0)), hash(i + vec3(1, 1, 0)), f.x), f.y),
               mix(mix(hash(i + vec3(0, 0, 1)), hash(i + vec3(1, 0, 1)), f.x),
                   mix(hash(i + vec3(0, 1, 1)), hash(i + vec3(1, 1, 1)), f.x), f.y), f.z);
}

float bell(float x) { return exp(-x * x); }

// Distance from the axis of the neck, in template coordinates.
float neck_distance(vec3 t) { return length((t - vec3(0., 5.98, .16)) * vec3(1., .85, 1.)); }

// Depth inside the beard, negative outside, in template coordinates.  beards.py computes the same.
float beard_depth(vec3 t) {
    float x = abs(t.x);
    float top = 6.835 - .22 * smoothstep(.15, .38, x) + .12 * smoothstep(.42, .56, x) + .55 * smoothstep(.56, .74, x);
    float mouth = (length(vec2(x / .285, (t.y - 6.59) / .105)) - 1.) * .12;
    float f = min(min(top - t.y, t.y - 6.02 - .25 * smoothstep(.9, .4, t.z)), min((t.z - .42) * .8, mouth));
    if (beard_cut == 2) f = min(f, min(t.y - 6.67 + .13 * smoothstep(.2, .36, x), .38 - x));
    if (beard_cut == 3) f = min(f, .36 - x);
    return f;
}

bool left_out(int kind, vec2 uv, vec3 t) {
    if (kind == SCULPT) return dot(hair_plane.xyz, t) > hair_plane.w;
    if (kind == BEARD) return beard_depth(t) < .012 * (noise(t * 30.) - .5);
    if (kind == GARMENT) return neck_distance(t) < neckline || t.y > 6.1;
    return false;
}
