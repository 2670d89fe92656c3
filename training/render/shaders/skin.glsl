// The painted face: skin tone, cheeks, lips, brows, shaved or bearded jaw, scalp.  `t` is the place on the template.
uniform sampler2D lips_map, lids_map;
uniform vec3 skin_colour, lip_colour, hair_colour, beard_colour, brow_colour, shadow_colour;
uniform float tone, age, brow_arch, brow_rise, brow_width, beard, freckles, makeup, scalp, blush, seed, lip_cover;

void paint(inout Surface s, vec3 view, bool inside, inout float lit, inout vec3 extra) {
    vec3 t = v_rest, albedo = skin_colour, n = s.n;
    float side = abs(t.x), front = smoothstep(.2, .9, t.z), face = smoothstep(5.9, 6.4, t.y) * front;
    s.wrap = vec3(.55, .36, .30);
    s.rough = .52;
    s.specular = .03;
    s.soft = 1.;
    s.sheen = .25;

    float cheek = bell((side - .50) / .22) * bell((t.y - 6.95) / .20) * smoothstep(.7, 1.1, t.z);
    float nose = bell(side / .17) * bell((t.y - 6.95) / .15) * smoothstep(1.3, 1.55, t.z);
    float ear = smoothstep(.74, .84, side) * smoothstep(6.7, 6.9, t.y) * smoothstep(7.7, 7.4, t.y);
    float red = clamp((cheek * .9 + nose * .55 + ear * .6) * blush, 0., 1.);
    albedo *= mix(vec3(1.), vec3(1.08, .70, .64), red * (1. - .55 * tone));

    float bag = bell((side - .30) / .15) * bell((t.y - 7.08) / .05) * smoothstep(1., 1.2, t.z);
    albedo *= 1. - bag * .12 * age;
    float lid = texture(lids_map, v_uv).r;
    albedo *= mix(vec3(1.), vec3(.86, .74, .72), lid * .55);
    albedo = mix(albedo, shadow_colour, lid * .45 * makeup);
    if (freckles > 0.) {
        float spots = smoothstep(.66, .80, noise(t * 34. + seed)) * bell((side - .3) / .36) * bell((t.y - 6.98) / .2) * face;
        albedo = mix(albedo, albedo * vec3(.66, .47, .36), spots * freckles * .6);
    }
    if (age > 0.) {
        float brow_lines = smoothstep(7.65, 7.78, t.y) * smoothstep(8.1, 7.95, t.y) * smoothstep(.5, .3, side) * face;
        float crow = bell((side - .60) / .09) * bell((t.y - 7.25) / .12) * face;
        float fold = bell((side - .27 - .42 * (6.85 - t.y)) / .035) * smoothstep(6.52, 6.62, t.y) * smoothstep(6.92, 6.8, t.y) * face;
        float lines = brow_lines * (.5 + .5 * sin(t.y * 50. + 2. * noise(t * 3.))) + crow * (.5 + .5 * sin(t.y * 70. + 6. * side));
        n = normalize(n + vec3(0., age * .16 * (brow_lines * cos(t.y * 50. + 2. * noise(t * 3.)) + crow * cos(t.y * 70. + 6. * side)), 0.));
        albedo *= 1. - age * (.06 * lines + .13 * fold);
    }

    float lip = smoothstep(.30, .70, texture(lips_map, v_uv).r);
    albedo = mix(albedo, lip_colour, lip * lip_cover);
    s.rough = mix(s.rough, .36, lip * (.35 + .65 * makeup));
    float parting = bell((t.y - 6.597) / .012) * smoothstep(.27, .2, side) * smoothstep(1.2, 1.4, t.z);
    albedo *= 1. - .35 * parting;

    // eyebrows
    float along = (side - .10) / .44;
    if (along > -.1 && along < 1.15 && t.y > 7.35 && t.y < 7.85 && t.z > .8) {
        float x = clamp(along, 0., 1.);
        float arch = 7.575 + brow_rise + (.034 + .028 * brow_arch) * sin(x * 2.3) - .03 * x * x;
        float width = brow_width * mix(.068, .026, x * x);
        float strands = noise(vec3((side * .75 - t.y * .65) * 60., (t.y + side) * 7., 4.));
        float brow = smoothstep(width, width * .55, abs(t.y - arch) + .012 * (strands - .5));
        brow *= smoothstep(-.08, .16, along + .02 * strands) * smoothstep(1.08, .88, along);
        albedo = mix(albedo, brow_colour * (.8 + .3 * strands), brow * .9);
    }
    // a shaved or bearded jaw: colour under the skin, without a grain
    if (beard > 0.) {
        float depth = beard_depth(t);
        float cover = smoothstep(-.03, .10, depth) * (1. - lip) * beard;
        albedo = mix(albedo, mix(beard_colour, skin_colour * vec3(.52, .5, .5), beard_cut == 1 ? .62 : .15), cover);
        s.rough = mix(s.rough, .7, cover);
    }

    float edge = mix(6.55, 8.02, smoothstep(-.2, 1.42, t.z)) + .10 * bell((side - .5) / .2) * smoothstep(.8, 1.2, t.z);
    edge -= .33 * smoothstep(.55, .72, side) * smoothstep(.2, .35, t.z) * smoothstep(.85, .7, t.z);
    float hairy = smoothstep(edge - .06, edge + .10, t.y) * (1. - smoothstep(.69, .75, side) * smoothstep(7.58, 7.44, t.y)) * scalp;
    albedo = mix(albedo, hair_colour * (.85 + .2 * noise(t * 26.)), clamp(hairy, 0., .97));
    s.rough = mix(s.rough, .75, hairy);
    s.soft = mix(s.soft, .2, hairy);
    s.wrap *= 1. - .4 * hairy;
    s.albedo = albedo;
    s.n = n;
}
