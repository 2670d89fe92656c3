in vec3 position;
in vec3 normal;
in vec2 uv;
in vec3 rest;          // coordinates on the unposed template, by which surfaces are painted
in vec4 tint;          // colour and ambient occlusion
in float kind;         // kind + KIND_STEP * part
uniform mat4 view_projection, light_projection;
out vec3 v_position, v_normal, v_rest;
out vec2 v_uv;
out vec4 v_tint, v_light;
flat out int v_kind, v_part;
invariant gl_Position;

void main() {
    v_position = position;
    v_normal = normal;
    v_uv = uv;
    v_rest = rest;
    v_tint = tint;
    v_kind = int(kind + .5) % KIND_STEP;
    v_part = int(kind + .5) / KIND_STEP;
    v_light = light_projection * vec4(position, 1.);
    gl_Position = view_projection * vec4(position, 1.);
}
