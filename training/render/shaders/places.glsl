// What places are painted with.  `at` runs from 0 to 1, y upwards; PLACE_DRAWN chooses the place.
in vec2 at;
out vec4 colour;
uniform vec3 backdrop, tone_light;
uniform float seed;
const int STUDIO = 0, BEACH = 1, SUNSET = 2, CITY = 3, FOREST = 4, GARDEN = 5, BRICK = 6, SNOW = 7, MOUNTAINS = 8, SPACE = 9,
          KITCHEN = 10, CASTLE = 11, NIGHT_FOREST = 12, SEA = 13, FLAMES = 14, LABORATORY = 15, DESERT = 16, UNDERWATER = 17,
          STADIUM = 18, ATELIER = 19, STAGE = 20, HOSPITAL = 21, CLOUDS = 22, STREET = 23, FJORD = 24, BLOSSOMS = 25,
          SKYLINE = 26, LIBRARY = 27, GREENHOUSE = 28;

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
