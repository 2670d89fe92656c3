// What is painted on the shirt-shaped cloth of the upper body.  `style` chooses the cut, `t` is the place on the template.
uniform int garment_style;
uniform vec3 cloth_colour, cloth_accent;
const int PLAIN = 0, STRIPED = 1, COAT = 2, CHEF = 3, ROBE = 4, TURNOUT = 5, SPACESUIT = 6, PLATE = 7;

float band(float x, float low, float high) { return smoothstep(low - .012, low + .012, x) * smoothstep(high + .012, high - .012, x); }

void shade_garment(vec3 t, inout vec3 n, inout vec3 albedo, inout float rough, inout float metal) {
    float front = smoothstep(.1, .3, t.z), side = abs(t.x);
    albedo = cloth_colour;
    rough = .85;
    if (garment_style == STRIPED) albedo = mix(cloth_colour, cloth_accent, smoothstep(.42, .5, abs(fract(t.y * 3.4) - .5) * 2. ));
    if (garment_style == COAT) {
        float opening = .10 + .42 * (t.y - 4.95), lapel = opening + .26;
        float inner = smoothstep(opening + .012, opening - .012, side) * front;
        float on_lapel = smoothstep(lapel + .012, lapel - .012, side) * front * (1. - inner);
        albedo = mix(albedo, albedo * .86, on_lapel);
        albedo *= 1. - .55 * front * (band(side, opening - .01, opening + .012) + .6 * band(side, lapel - .01, lapel + .012));
        albedo = mix(albedo, cloth_accent, inner);
    }
    if (garment_style == CHEF) {
        albedo *= 1. - .35 * front * band(t.x, .45, .475);
        vec2 button = vec2(abs(t.x) - .27, fract(t.y * 3.6) / 3.6 - .14);
        albedo = mix(albedo, cloth_accent, smoothstep(.062, .045, length(button)) * front * smoothstep(5.72, 5.68, t.y));
    }
    if (garment_style == ROBE) {
        float collar = smoothstep(1.32, 1.29, neck_distance(t));
        vec3 cell = t * vec3(4.5, 4.5, 4.5) + vec3(.5 * floor(t.y * 4.5), 0., 0.);
        vec2 spot = fract(cell.xy) - vec2(.3 + .4 * hash(floor(vec3(cell.xy, 1.))), .5);
        vec3 ermine = vec3(.9, .88, .84) * (1. - .85 * smoothstep(.19, .12, length(spot * vec2(1.6, .8))));
        albedo = mix(albedo, ermine, collar);
        albedo = mix(albedo, vec3(.85, .6, .15), band(side, .02, .09) * front * (1. - collar));
    }
    if (garment_style == TURNOUT) {
        float stripe = max(band(t.y, 5.22, 5.44), band(side, 1.42, 1.62) * step(5.2, t.y));
        float inner = max(band(t.y, 5.30, 5.36), band(side, 1.50, 1.55) * step(5.2, t.y));
        albedo = mix(albedo, mix(cloth_accent, vec3(.85), inner), stripe);
        albedo *= 1. - .5 * front * band(t.x, -.015, .015);
    }
    if (garment_style == SPACESUIT) {
        albedo *= 1. - .35 * (band(side, .93, .955) + band(t.y, 5.43, 5.45) * front);
        albedo = mix(albedo, cloth_accent, band(side, 1.35, 1.55));
        vec2 patch_at = vec2(t.x - .6, t.y - 5.62);
        albedo = mix(albedo, vec3(.08, .18, .55), smoothstep(.145, .13, length(patch_at)) * front);
        albedo = mix(albedo, vec3(.9), smoothstep(.055, .04, length(patch_at)) * front);
        albedo = mix(albedo, vec3(.7, .1, .1), band(t.x, -.76, -.46) * band(t.y, 5.56, 5.68) * front);
    }
    if (garment_style == PLATE) {
        metal = 1.;
        rough = .3;
        albedo *= 1. - .5 * (band(neck_distance(t), .98, 1.02) + band(side, 1.3, 1.34) + front * band(t.x, -.012, .012));
    }
    float weave = noise(t * 60.);
    albedo *= mix(.9 + .2 * weave, 1., metal);
    n = normalize(n + .2 * (1. - metal) * (vec3(noise(t * 5.), noise(t * 5. + 4.), noise(t * 5. + 8.)) - .5));
    albedo *= mix(.75, 1., smoothstep(.04, .08, neck_distance(t) - neckline));
}
