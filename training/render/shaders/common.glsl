// Noise, surface kinds, and the rule by which parts of a surface are left out; shared by all passes.
const int SKIN = 0, EYE = 1, TEETH = 2, TONGUE = 3, HAIR = 4, GARMENT = 5, CLOTH = 6, GLOSS = 7, METAL = 8, FUR = 9,
          MAIL = 10, STARS = 11, DOTS = 12, KNIT = 13, SHELL = 14;

uniform float neckline;      // radius of the neck hole of the garment
uniform vec4 hair_plane;     // hair on the far side of this plane is hidden by a hat or a collar
uniform float fringe;        // height below which no hair may hang before the eyes

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

// Distance from the axis of the neck, in template coordinates.
float neck_distance(vec3 t) { return length((t - vec3(0., 5.98, .16)) * vec3(1., .85, 1.)); }

bool left_out(int kind, vec2 uv, vec3 t) {
    vec2 face = (t.xy - vec2(0., fringe - .62)) / vec2(.62, .62);
    if (kind == HAIR && t.z > .75 && dot(face, face) < 1.) return true;
    if (kind == HAIR) return dot(hair_plane.xyz, t) > hair_plane.w;
    if (kind == GARMENT) return neck_distance(t) < neckline || t.y > 6.1;
    return false;
}
