// The painted face: skin tone, cheeks, lips, brows, lids, beard, scalp.  `t` is the place on the template.
uniform sampler2D lips_map, lids_map;
uniform vec3 skin_colour, lip_colour, hair_colour, beard_colour, brow_colour;
uniform float tone, age, brow_arch, brow_width, beard, freckles, makeup, scalp, blush, seed;
uniform vec4 eye_left, eye_right;     // centre and radius

float bell(float x) { return exp(-x * x); }

float lid_line(vec3 t) {
    return smoothstep(.30, .24, abs(abs(t.x) - .308)) * smoothstep(.22, .16, abs(t.y - 7.28)) * smoothstep(1.15, 1.25, t.z);
}

void shade_skin(vec3 p, vec3 t, vec2 uv, inout vec3 n, inout vec3 albedo, inout float rough, inout vec3 wrap) {
    float side = abs(t.x), front = smoothstep(.2, .9, t.z), face = smoothstep(5.9, 6.4, t.y) * front;
    albedo = skin_colour;
    wrap = vec3(.5, .3, .24);
    rough = .5;

    float cheek = bell((side - .52) / .24) * bell((t.y - 6.98) / .22) * smoothstep(.7, 1.1, t.z);
    float nose = bell(side / .17) * bell((t.y - 6.98) / .14) * smoothstep(1.3, 1.55, t.z);
    float ear = smoothstep(.74, .84, side) * smoothstep(6.7, 6.9, t.y) * smoothstep(7.7, 7.4, t.y);
    float red = clamp((cheek * .8 + nose * .4 + ear * .4) * blush, 0., 1.);
    albedo *= mix(vec3(1.), vec3(1.04, .78, .74), red * (1. - .5 * tone));

    float bag = bell((side - .30) / .15) * bell((t.y - 7.10) / .055) * smoothstep(1., 1.2, t.z);
    albedo *= 1. - bag * .14 * age;
    float lid = texture(lids_map, uv).r;
    albedo *= mix(vec3(1.), vec3(.9, .8, .8), lid * .5);
    albedo = mix(albedo, lip_colour * .6, lid * .3 * makeup);
    if (freckles > 0.) {
        float spots = smoothstep(.70, .78, noise(t * 30. + seed)) * bell((side - .3) / .4) * bell((t.y - 7.) / .25) * face;
        albedo = mix(albedo, vec3(.62, .40, .28), spots * freckles * .8);
    }
    if (age > 0.) {
        float brow_lines = smoothstep(7.55, 7.75, t.y) * smoothstep(8.2, 7.95, t.y) * face;
        float crow = bell((side - .62) / .10) * bell((t.y - 7.27) / .12) * face;
        n = normalize(n + vec3(0., age * .2 * (brow_lines * sin(t.y * 58. + 3. * noise(t * 4.)) + crow * sin(t.y * 95. + 8. * side)), 0.));
    }

    float lip = smoothstep(.25, .75, texture(lips_map, uv).r);
    albedo = mix(albedo, lip_colour, lip * .85);
    rough = mix(rough, .32, lip * (.5 + .5 * makeup));

    // eyebrows, and the dark line of the lashes around the eyeball
    float along = (side - .10) / .46;
    if (along > -.1 && along < 1.15 && t.y > 7.35 && t.y < 7.8 && t.z > .8) {
        float arch = 7.55 + .042 * sin(clamp(along, 0., 1.) * 2.5) - .06 * along * along * brow_arch;
        float width = brow_width * mix(.064, .022, clamp(along, 0., 1.));
        float brow = smoothstep(width, width * .5, abs(t.y - arch)) * smoothstep(-.02, .10, along) * smoothstep(1.08, .9, along);
        float strands = noise(vec3((side * .75 - t.y * .65) * 85., (t.y + side) * 9., 4.));
        albedo = mix(albedo, brow_colour * (.7 + .4 * strands), brow * (.55 + .45 * smoothstep(.1, .5, strands)));
    }
    vec4 eye = t.x > 0. ? eye_left : eye_right;
    float off_ball = (distance(p, eye.xyz) - eye.w) / eye.w, upper = smoothstep(-.25, .15, t.y - 7.27);
    albedo *= mix(1., .08, smoothstep(.12, .03, off_ball) * lid_line(t) * (.25 + .75 * upper) * (.85 + .15 * makeup));

    float fine = noise(t * 60.);
    if (beard > 0.) {
        float jaw = smoothstep(6.95, 6.74, t.y) * smoothstep(5.95, 6.2, t.y + .25 * smoothstep(1.2, .4, t.z));
        float sideburn = smoothstep(.42, .62, side) * smoothstep(7.2, 6.9, t.y) * smoothstep(.35, .6, t.z) * smoothstep(1.3, 1., t.z);
        float moustache = bell((t.y - 6.86) / .055) * smoothstep(.36, .26, side) * smoothstep(1.2, 1.3, t.z);
        float area = max(max(jaw * smoothstep(.25, .5, t.z), sideburn), moustache) * (1. - lip);
        float cover = area * clamp(beard * 1.5, 0., 1.) * mix(.6, smoothstep(.1, .6, fine), .45);
        albedo = mix(albedo, mix(beard_colour, skin_colour * .35, .5 - .5 * beard) * (.65 + .55 * fine), clamp(cover, 0., .95));
        n = normalize(n + (fine - .5) * cover * vec3(.6, .9, .6));
        rough = mix(rough, .75, cover);
    }

    float line = mix(6.55, 8.02, smoothstep(-.2, 1.42, t.z)) + .10 * bell((side - .5) / .2) * smoothstep(.8, 1.2, t.z);
    line -= .33 * smoothstep(.55, .72, side) * smoothstep(.2, .35, t.z) * smoothstep(.85, .7, t.z);
    float hairy = smoothstep(line - .05, line + .09, t.y + .06 * (noise(t * 16.) - .5)) * (1. - ear * .9) * scalp;
    albedo = mix(albedo, hair_colour * (.7 + .4 * fine), clamp(hairy * (.8 + .3 * fine), 0., .97));
    n = normalize(n + (fine - .5) * hairy * vec3(.4, .6, .4));
    rough = mix(rough, .65, hairy);
    wrap *= 1. - .6 * hairy;
}
