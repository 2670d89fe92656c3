in vec3 position;
in vec2 uv;
in vec3 rest;
in float kind;
uniform mat4 view_projection;
out vec2 v_uv;
out vec3 v_rest;
flat out int v_kind;
invariant gl_Position;

void main() {
    v_uv = uv;
    v_rest = rest;
    v_kind = int(kind + .5) % KIND_STEP;
    gl_Position = view_projection * vec4(position, 1.);
}
