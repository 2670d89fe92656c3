// Light on a surface: a key with a shadow, a fill, the sky and the ground, a rim; then the curve of the film.
in vec3 v_position, v_normal, v_rest;
in vec2 v_uv;
in vec4 v_tint, v_light;
flat in int v_kind, v_part;
layout(location = 0) out vec4 colour;
layout(location = 1) out float part;
uniform sampler2DShadow shadow_map;
uniform vec3 camera, key_direction, key_colour, fill_direction, fill_colour, sky, ground, rim_direction, rim_colour;
uniform float exposure;

struct Surface {
    vec3 n, albedo;
    vec3 wrap;          // how far diffuse light reaches around, by channel
    float rough, specular, metal, occlusion;
    float soft;         // 1: light seeps through, as in skin
    float sheen;        // bright edge of cloth and down
};

float shadow() {
    vec3 q = v_light.xyz / v_light.w * .5 + .5;
    float lit = 0.;
    for (int i = 0; i < 4; i++) {
        vec2 offset = vec2(i < 2 ? 1. : -1., i % 2 == 0 ? 1. : -1.) * 1.3 / SHADOW_SIZE;
        lit += texture(shadow_map, vec3(q.xy + offset, q.z - .006));
    }
    return lit * .25;
}

vec3 diffuse(vec3 n, vec3 direction, vec3 wrap) {
    vec3 x = clamp((dot(n, direction) + wrap) / (1. + wrap), 0., 1.);
    return x * mix(vec3(1.), x, wrap);
}

vec3 shade(Surface s, vec3 view, float lit) {
    vec3 n = s.n, body = s.albedo * (1. - .7 * s.metal);
    float nv = max(dot(n, view), .03), nl = max(dot(n, key_direction), 0.);
    vec3 reach = mix(vec3(lit), vec3(pow(lit, .5), lit, lit * .97 + .01), s.soft);
    // dark corners of skin are warm, not grey
    vec3 corners = mix(vec3(s.occlusion), pow(vec3(s.occlusion), vec3(.55, .85, .95)), s.soft);
    vec3 sum = body * key_colour * diffuse(n, key_direction, s.wrap) * reach * mix(vec3(1.), corners, .4);
    sum += body * fill_colour * diffuse(n, fill_direction, s.wrap) * corners;
    sum += body * mix(ground, sky, .5 + .5 * n.y) * corners;
    vec3 halfway = normalize(view + key_direction);
    float nh = max(dot(n, halfway), 0.), a = s.rough * s.rough * s.rough * s.rough, d = nh * nh * (a - 1.) + 1.;
    float fresnel = s.specular + (1. - s.specular) * pow(1. - max(dot(view, halfway), 0.), 5.);
    sum += key_colour * lit * nl * mix(vec3(fresnel), s.albedo * 1.6, s.metal) * a / (3.1416 * d * d) * .22 / max(.3, nv + .1);
    if (s.metal > 0.) {
        vec3 mirrored = reflect(-view, n);
        float bright = smoothstep(-.3, .2, mirrored.y) * (.5 + .6 * smoothstep(.2, .9, mirrored.y));
        sum += s.metal * s.albedo * mix(ground * .35, sky * 1.7, bright) * s.occlusion;
    }
    float edge = pow(1. - nv, 2.2), behind = smoothstep(-.15, .75, dot(n, rim_direction));
    sum += rim_colour * (s.albedo * .8 + .12) * edge * behind * 1.5 * mix(.4, 1., s.occlusion);
    sum += s.soft * rim_colour * s.albedo * vec3(.30, .07, .03) * behind * (1. - edge);
    sum += (sky + .3 * key_colour * lit) * (s.specular * 1.2 * edge + s.sheen * s.albedo * edge) * s.occlusion;
    return sum;
}

vec3 film(vec3 x) { return x * (2.51 * x + .03) / (x * (2.43 * x + .59) + .14); }

// Filmic curve, half by channel and half by brightness, so that bright skin keeps its colour; then gamma.
vec3 developed(vec3 linear) {
    vec3 x = max(linear, 0.) * exposure;
    float bright = dot(x, vec3(.2126, .7152, .0722)) + 1e-5;
    vec3 kept = x * (film(vec3(bright)).r / bright);
    return pow(clamp(mix(film(x), kept, .6), 0., 1.), vec3(1. / 2.2));
}
