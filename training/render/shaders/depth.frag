in vec2 v_uv;
in vec3 v_rest;
flat in int v_kind;

void main() {
    if (left_out(v_kind, v_uv, v_rest)) discard;
}
