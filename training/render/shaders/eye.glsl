// The eyeball: a large iris with a bright lower half, a dark rim, the shadow of the lid, and two catchlights.
uniform vec3 iris_colour, gaze_left, gaze_right, catch_direction, head_up;
uniform vec4 eye_left, eye_right;     // centre and radius
uniform float seed;

void paint(inout Surface s, vec3 view, bool inside, inout float lit, inout vec3 extra) {
    bool left = v_rest.x > 0.;
    vec4 eye = left ? eye_left : eye_right;
    vec3 gaze = left ? gaze_left : gaze_right, d = normalize(v_position - eye.xyz);
    vec3 right = normalize(cross(head_up, gaze)), up = cross(gaze, right);
    float r = acos(clamp(dot(d, gaze), -1., 1.)), a = atan(dot(d, up), dot(d, right));
    float iris = smoothstep(.68, .64, r), pupil = smoothstep(.32, .285, r);
    float fibres = .8 + .4 * noise(vec3(a * 7., r * 5., seed));
    float below = .5 - .5 * sin(a);
    vec3 tint = iris_colour * fibres * mix(.75, 2.1, below * smoothstep(.68, .4, r)) * mix(1., .22, smoothstep(.53, .67, r));
    vec3 white = vec3(.90, .885, .87) * mix(vec3(1.), vec3(1., .86, .82), smoothstep(.75, 1.25, r));
    s.albedo = mix(mix(white, tint, iris), vec3(.004), pupil);
    s.n = d;
    s.rough = .3;
    s.specular = .02;
    s.wrap = vec3(.5);
    lit = mix(lit, 1., .5);
    float lid = smoothstep(.62, .2, dot(d, head_up));
    s.occlusion = mix(.38, 1., lid);
    s.albedo *= mix(vec3(.62, .55, .53), vec3(1.), lid);
    vec3 mirrored = reflect(-view, d);
    vec3 second = normalize(reflect(-catch_direction, view) * vec3(1., 1., 1.));
    float big = smoothstep(.945, .962, dot(mirrored, catch_direction)), small = smoothstep(.972, .985, dot(mirrored, second));
    extra = (key_colour * .7 + .5) * big * 1.7 + (fill_colour + sky) * small * .5;
}
