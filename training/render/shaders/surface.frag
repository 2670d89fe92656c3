// One fragment of one group of materials.
void main() {
    Surface s = Surface(normalize(v_normal), v_tint.rgb, vec3(.2), .6, .035, 0., v_tint.a, 0., 0.);
    vec3 view = normalize(camera - v_position), extra = vec3(0.);
    bool inside = !gl_FrontFacing;
#ifndef GROUP_SKIN
    if (dot(s.n, view) < 0.) s.n = -s.n;
#endif
    float lit = shadow();
    paint(s, view, inside, lit, extra);
    colour = vec4(developed(shade(s, view, lit) + extra), 1.);
    part = float(v_part) / 255.;
}
