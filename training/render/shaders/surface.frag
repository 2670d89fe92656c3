in vec3 v_position, v_normal, v_rest;
in vec2 v_uv;
in vec4 v_tint, v_light;
flat in int v_kind;
out vec4 colour;
uniform sampler2DShadow shadow_map;
uniform vec3 camera, key_direction, key_colour, sky, ground, rim_direction, rim_colour, iris_colour, gaze_left, gaze_right;
uniform float hair_curl;

float shadow() {
    vec3 q = v_light.xyz / v_light.w * .5 + .5;
    float lit = 0.;
    for (int i = 0; i < 9; i++) {
        vec2 offset = vec2(float(i % 3) - 1., float(i / 3) - 1.) * 2.2 / SHADOW_SIZE;
        lit += texture(shadow_map, vec3(q.xy + offset, q.z - .0045));
    }
    return lit / 9.;
}

void shade_eye(inout vec3 n, inout vec3 albedo, inout float occlusion) {
    bool left = v_rest.x > 0.;
    vec4 eye = left ? eye_left : eye_right;
    vec3 gaze = left ? gaze_left : gaze_right, d = normalize(v_position - eye.xyz);
    vec3 right = cross(normalize(cross(gaze, vec3(1, 0, 0))), gaze), up = cross(gaze, right);
    float r = acos(clamp(dot(d, gaze), -1., 1.)), a = atan(dot(d, up), dot(d, right));
    float iris = smoothstep(.50, .46, r), pupil = smoothstep(.22, .19, r);
    float fibres = .55 + .7 * noise(vec3(a * 9., r * 6., seed));
    vec3 iris_tint = iris_colour * fibres * mix(1.4, .85, smoothstep(.2, .44, r)) * mix(1., .35, smoothstep(.40, .48, r));
    vec3 white = vec3(.92, .9, .89) * mix(vec3(1.), vec3(1., .9, .88), smoothstep(.6, 1.1, r));
    albedo = mix(mix(white, iris_tint, iris), vec3(.006), pupil);
    occlusion *= mix(.6, 1., smoothstep(.45, .1, d.y));
    n = d;
}

void main() {
    vec3 n = normalize(v_normal), view = normalize(camera - v_position), albedo = v_tint.rgb, wrap = vec3(.12), t = v_rest;
    float occlusion = v_tint.a, rough = .5, specular = .04, metal = 0.;
    bool inside = !gl_FrontFacing;
    if (dot(n, view) < 0. && v_kind != SKIN) n = -n;
    if (v_kind == SKIN) {
        shade_skin(v_position, t, v_uv, n, albedo, rough, wrap);
        specular = .032;
    } else if (v_kind == EYE) {
        shade_eye(n, albedo, occlusion);
        rough = .1; wrap = vec3(.3);
    } else if (v_kind == TEETH) {
        albedo = vec3(.9, .88, .83); rough = .3; wrap = vec3(.5);
    } else if (v_kind == TONGUE) {
        albedo = vec3(.5, .17, .16); rough = .4;
    } else if (v_kind == HAIR) {
        float strands = noise(vec3(v_uv.x * 120., v_uv.y * 2.5, 3.)), locks = noise(vec3(v_uv.x * 45., v_uv.y * 1.5, 8.));
        albedo = hair_colour * (.6 + .5 * strands) * (.75 + .45 * locks);
        rough = .5; wrap = vec3(.3);
        if (hair_curl > 0.) {
            float curls = noise(t * 11.) * .6 + noise(t * 24.) * .4;
            albedo = hair_colour * (.35 + 1.3 * curls);
            n = normalize(n + .9 * (vec3(curls, noise(t * 11. + 5.), noise(t * 11. + 9.)) - .5));
        }
    } else if (v_kind == GARMENT) {
        shade_garment(t, n, albedo, rough, metal);
        specular = .02; wrap = vec3(.18);
    } else if (v_kind == CLOTH) {
        albedo *= .88 + .24 * noise(t * 40.); rough = .85; specular = .02; wrap = vec3(.18);
    } else if (v_kind == KNIT) {
        albedo *= (.72 + .35 * abs(sin(atan(t.x, t.z) * 34.))) * (.9 + .2 * noise(t * 30.)); rough = .9; specular = .02; wrap = vec3(.18);
    } else if (v_kind == GLOSS) {
        rough = .28;
    } else if (v_kind == METAL) {
        rough = .28; metal = 1.;
    } else if (v_kind == FUR) {
        albedo *= .75 + .5 * noise(t * 35.); rough = 1.; specular = .0; wrap = vec3(.3);
    } else if (v_kind == MAIL) {
        vec2 links = vec2(atan(t.x, t.z) * 26., t.y * 20.);
        links.x += .5 * mod(floor(links.y), 2.);
        float r = length(fract(links) - .5);
        albedo *= .35 + .9 * smoothstep(.5, .42, r) * smoothstep(.18, .28, r); metal = .8; rough = .35;
    } else if (v_kind == STARS) {
        vec2 cell = vec2(atan(t.x, t.z) * 3.4, t.y * 3.2);
        vec2 q = fract(cell) - .5 - .25 * (vec2(hash(vec3(floor(cell), 1.)), hash(vec3(floor(cell), 2.))) - .5);
        float star = .13 * (1. + .55 * cos(5. * atan(q.y, q.x) + 6. * hash(vec3(floor(cell), 3.))));
        albedo = mix(albedo, vec3(.95, .75, .2), smoothstep(star + .03, star, length(q) * 1.2)); rough = .8; wrap = vec3(.18);
    } else if (v_kind == DOTS) {
        vec2 cell = vec2(atan(t.x, t.z) * 5., t.y * 5.);
        cell.x += .5 * mod(floor(cell.y), 2.);
        albedo = mix(albedo, vec3(.9), smoothstep(.2, .15, length(fract(cell) - .5))); rough = .8; wrap = vec3(.18);
    } else if (v_kind == SHELL) {
        if (inside) { albedo = vec3(.16, .18, .22); rough = .6; } else rough = .2;
    }

    float lit = shadow();
    vec3 diffuse = clamp((dot(n, key_direction) + wrap) / (1. + wrap), 0., 1.);
    vec3 soft = v_kind == SKIN ? vec3(pow(lit, .6), lit, lit) : vec3(lit);
    vec3 body = albedo * (1. - .65 * metal);
    vec3 sum = body * key_colour * diffuse * soft * mix(1., occlusion, .4) + body * mix(ground, sky, .5 + .5 * n.y) * occlusion;

    vec3 halfway = normalize(view + key_direction);
    float nv = max(dot(n, view), .03), nh = max(dot(n, halfway), 0.), nl = max(dot(n, key_direction), 0.);
    if (v_kind == HAIR) {
        vec3 tangent = normalize(cross(n, vec3(1, 0, 0)) + vec3(0., .001, 0.));
        float along = dot(tangent, halfway);
        float gleam = pow(max(1. - along * along, 0.), 40.) * .6 * max(dot(n, key_direction) + .3, 0.);
        sum += key_colour * lit * (hair_colour + .03) * gleam * occlusion;
    } else {
        float a = rough * rough * rough * rough, d = nh * nh * (a - 1.) + 1.;
        float fresnel = specular + (1. - specular) * pow(1. - max(dot(view, halfway), 0.), 5.);
        sum += key_colour * lit * nl * mix(vec3(fresnel), albedo * 1.6, metal) * a / (3.1416 * d * d) * .22 / max(.3, nv + .1);
    }
    if (metal > 0.) {
        vec3 mirrored = reflect(-view, n);
        float bright = smoothstep(-.3, .2, mirrored.y) * (.55 + .45 * smoothstep(.25, .9, mirrored.y));
        sum += metal * albedo * mix(ground * .35, sky * 1.5, bright) * occlusion;
    }
    float rim = max(dot(n, rim_direction), 0.);
    sum += rim_colour * (albedo + .05) * rim * rim * (.3 + .7 * pow(1. - nv, 2.)) * occlusion;
    sum += sky * specular * pow(1. - nv, 4.) * occlusion;
    if (v_kind == EYE) {
        vec3 mirrored = reflect(-view, n);
        float catchlight = smoothstep(.95, .972, dot(mirrored, normalize(key_direction + .25 * view)));
        sum += key_colour * catchlight * 1.5 + sky * .2 * smoothstep(.2, .9, mirrored.y);
    }
    colour = vec4(sum, 1.);
}
