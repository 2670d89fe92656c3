// The painted place, out of focus.
in vec2 at;
layout(location = 0) out vec4 colour;
layout(location = 1) out float part;
uniform sampler2D picture;
uniform float blur;

void main() {
    float step = .0022 * exp2(blur);
    vec3 sum = textureLod(picture, at, blur).rgb * 2.;
    for (int i = 0; i < 4; i++) {
        vec2 offset = vec2(i < 2 ? 1. : -1., i % 2 == 0 ? 1. : -1.) * step;
        sum += textureLod(picture, at + offset, blur).rgb;
    }
    colour = vec4(sum / 6., 1.);
    part = 0.;
}
