// Places, painted flat behind the person.
void main() {
    const int place = PLACE_DRAWN;
    vec3 c = mix(backdrop * 1.1 + .14, backdrop * .72 + .02, smoothstep(.05, .85, length(at - vec2(.5, .58))));
    if (place == BEACH) {
        c = sky_with_clouds(vec3(.62, .82, .95), vec3(.22, .5, .85), .48);
        if (at.y < .48) c = mix(vec3(.06, .45, .55), vec3(.25, .68, .7), smoothstep(.48, .3, at.y));
        float shore = .28 + .02 * sin(at.x * 9. + seed);
        if (at.y < shore) c = vec3(.85, .7, .45) * (.9 + .15 * cloudy(at * 14.));
        c = mix(c, vec3(.95), smoothstep(.02, .0, abs(at.y - shore)));
    } else if (place == SUNSET) {
        c = mix(vec3(1., .42, .12), vec3(.32, .16, .42), smoothstep(.3, 1., at.y));
        c = mix(c, vec3(1., .62, .35), .6 * smoothstep(.5, .75, cloudy(at * vec2(2.5, 9.))));
        c += vec3(1., .75, .3) * smoothstep(.11, .1, length(at - vec2(.2 + .6 * h(vec2(1., 1.)), .5)));
        c = mix(c, vec3(.14, .07, .12), smoothstep(.01, -.01, at.y - ridge(at.x, .3, .1, 4.)));
    } else if (place == CITY) {
        c = mix(vec3(.4, .3, .5), vec3(.12, .15, .32), at.y);
        float tower = floor(at.x * 9.), top = .35 + .45 * h(vec2(tower, 11.));
        if (at.y < top) {
            vec2 pane = floor(at * vec2(45., 34.));
            c = vec3(.16, .17, .27) + step(.8, h(pane)) * vec3(.8, .6, .3) * (.4 + .5 * h(pane + 5.));
        }
        c = lights(c, 18, .04, vec3(1., .55, .2), vec3(.25, .5, 1.), .4);
    } else if (place == FOREST || place == NIGHT_FOREST) {
        c = mix(vec3(.1, .2, .05), vec3(.28, .48, .14), cloudy(at * vec2(6., 7.)));
        c = mix(c, vec3(.75, .85, .45), .75 * smoothstep(.45, .8, cloudy(at * 5. + 4.)) * at.y);
        c = trunks(c, vec3(.16, .09, .05), 7);
        c = mix(c, vec3(.12, .24, .06) * (.7 + .6 * cloudy(at * 12.)), smoothstep(.24, .16, at.y));
        if (place == NIGHT_FOREST) {
            c = c * vec3(.25, .4, .75) + vec3(.08, .1, .2);
            c += vec3(.85, .88, .8) * smoothstep(.085, .078, length(at - vec2(.18 + .1 * h(vec2(1., 1.)), .83)));
            c = lights(c, 14, .008, vec3(.7, .9, .3), vec3(.4, .8, .6), .8);
        }
    } else if (place == GARDEN) {
        c = mix(vec3(.12, .3, .08), vec3(.35, .58, .18), cloudy(at * 9.));
        c = mix(c, vec3(.55, .75, .9), smoothstep(.68, .8, at.y + .12 * cloudy(at * 6.)));
        for (int i = 0; i < 26; i++) {
            float k = float(i), pick = h(vec2(k, 4.));
            vec3 petal = pick < .34 ? vec3(.85, .15, .25) : pick < .67 ? vec3(.95, .75, .15) : vec3(.85, .45, .8);
            float d = length(at - vec2(h(vec2(k, 1.)), .65 * h(vec2(k, 2.)))), r = .022 + .02 * h(vec2(k, 3.));
            c = mix(c, mix(vec3(.95, .85, .5), petal, smoothstep(.2, .4, d / r)), smoothstep(r, r * .8, d));
        }
    } else if (place == BRICK) {
        c = tiles(vec2(5., 11.), vec3(.42, .16, .11), vec3(.5, .46, .42), .5, .25, .09) * (.9 + .2 * cloudy(at * 20.));
    } else if (place == SNOW) {
        c = mix(vec3(.78, .85, .93), vec3(.5, .65, .85), at.y);
        for (int i = 0; i < 7; i++) {
            float k = float(i), x = (k + h(vec2(k, 1.))) / 7., foot = .3 + .05 * h(vec2(k, 2.)), tall = .3 + .2 * h(vec2(k, 3.));
            float y = at.y - foot, bough = fract(y * 14.), w = .1 * (1. - y / tall) * (.7 + .3 * bough);
            vec3 fir = mix(vec3(.1, .22, .17), vec3(.9), .65 * bough);
            if (y > 0. && y < tall) c = mix(c, fir, smoothstep(w, w * .85, abs(at.x - x)));
        }
        if (at.y < .34 + .03 * sin(at.x * 7. + seed)) c = vec3(.86, .9, .96) * (.92 + .12 * cloudy(at * 8.));
        c = lights(c, 30, .007, vec3(1.), vec3(.9), .6);
    } else if (place == MOUNTAINS) {
        c = sky_with_clouds(vec3(.75, .86, .95), vec3(.3, .52, .85), .3);
        float far = ridge(at.x, .42, .4, 4.), near = ridge(at.x + 3., .25, .2, 5.);
        if (at.y < far) c = mix(vec3(.33, .38, .5), vec3(.93, .95, 1.), smoothstep(.66, .72, at.y + .1 * cloudy(at * 14.)));
        if (at.y < near) c = vec3(.13, .3, .14) * (.8 + .4 * cloudy(at * 18.));
    } else if (place == SPACE) {
        c = mix(vec3(.012, .015, .045), vec3(.1, .04, .17), cloudy(at * 3.));
        vec2 cell = floor(at * 26.), q = fract(at * 26.) - .5 - .6 * (vec2(h(cell), h(cell + 9.)) - .5);
        c += step(.55, h(cell + 3.)) * smoothstep(.16, .05, length(q)) * (.5 + h(cell + 5.));
        vec2 p = (at - vec2(h(vec2(1., 1.)) < .5 ? .14 : .86, .72)) / .2;
        if (length(p) < 1.) {
            float lit = clamp(dot(vec3(p, sqrt(1. - dot(p, p))), vec3(-.5, .5, .7)), .04, 1.);
            vec3 land = mix(vec3(.1, .3, .75), vec3(.2, .5, .2), smoothstep(.48, .54, cloudy(p * 2.2 + 5.)));
            c = mix(land, vec3(.95), .8 * smoothstep(.5, .65, cloudy(p * vec2(2.5, 5.) + 9.))) * lit;
        }
    } else if (place == KITCHEN) {
        c = tiles(vec2(7., 7.), vec3(.74, .82, .82), vec3(.55, .6, .6), 0., .06, .06);
        if (at.y > .74 && at.y < .77) c = vec3(.42, .25, .12);
        for (int i = 0; i < 5; i++) {
            vec2 p = at - vec2(.1 + .2 * float(i), .62);
            vec3 pan = h(vec2(float(i), 2.)) < .5 ? vec3(.62, .3, .14) : vec3(.25, .26, .28);
            c = mix(c, pan * (.8 + 2. * (p.x + .07)), smoothstep(.07, .065, length(p)));
            c = mix(c, vec3(.12), smoothstep(.012, .008, abs(p.x)) * step(.06, p.y) * step(p.y, .12));
        }
        if (at.y < .2) c = vec3(.5, .52, .55) * (.9 + .2 * at.y);
    } else if (place == CASTLE) {
        c = tiles(vec2(5., 8.), vec3(.36, .33, .31), vec3(.2, .19, .18), .5, .12, .06) * (.9 + .25 * cloudy(at * 12.));
        for (int i = 0; i < 2; i++) {
            float s = i == 0 ? .17 : .83;
            vec2 p = at - vec2(s, .62);
            float arch = max(abs(p.x), length(vec2(p.x, max(p.y - .1, 0.) * .75)));
            if (p.y > -.3) c = mix(c, vec3(.55, .75, .95), smoothstep(.085, .08, arch) * (.75 + .25 * step(.008, abs(p.x))));
            c = mix(c, vec3(.55, .06, .08) * (.75 + .25 * sin(at.x * 160.)), step(abs(at.x - s + (i == 0 ? .15 : -.15)), .05));
        }
    } else if (place == SEA) {
        c = sky_with_clouds(vec3(.8, .88, .93), vec3(.3, .55, .8), .4);
        if (at.y < .4) {
            float waves = sin(at.y * 130. + 3. * smooth_noise(at * vec2(14., 40.)));
            c = mix(vec3(.03, .2, .36), vec3(.16, .45, .58), .5 + .5 * waves * smoothstep(.42, .1, at.y));
        }
    } else if (place == FLAMES) {
        float f = cloudy(vec2(at.x * 5., at.y * 2.6 - 2.)) + .75 - at.y;
        c = mix(vec3(.1, .02, .02), vec3(.85, .16, .02), smoothstep(.35, .7, f));
        c = mix(c, vec3(1., .62, .1), smoothstep(.7, 1., f));
        c = lights(c, 20, .03, vec3(1., .45, .1), vec3(1., .75, .3), .35);
    } else if (place == LABORATORY) {
        c = vec3(.55, .66, .72);
        float shelf = fract(at.y * 4.);
        vec2 slot = vec2(floor(at.x * 9.), floor(at.y * 4.));
        float kind = h(slot), x = fract(at.x * 9.) - .5, w = kind < .5 ? .3 * (1. - .8 * shelf) + .05 : .18;
        vec3 liquid = h(slot + 3.) < .33 ? vec3(.15, .7, .35) : h(slot + 3.) < .66 ? vec3(.2, .4, .9) : vec3(.9, .35, .6);
        vec3 glass = shelf < .45 ? liquid : vec3(.8, .9, .95);
        if (shelf > .1 && shelf < .72 && h(slot + 7.) < .8) c = mix(c, glass, smoothstep(w, w * .85, abs(x)));
        if (shelf < .08) c = vec3(.9);
    } else if (place == DESERT) {
        c = mix(vec3(.95, .8, .6), vec3(.35, .6, .88), smoothstep(.4, 1., at.y));
        float mesa = .42 + .2 * step(.5, smooth_noise(vec2(at.x * 4., 2.)));
        if (at.y < mesa) c = vec3(.6, .28, .16) * (.85 + .3 * smooth_noise(vec2(at.x * 3., at.y * 30.)));
        if (at.y < ridge(at.x, .28, .12, 3.)) c = vec3(.85, .58, .32) * (.9 + .2 * cloudy(at * vec2(4., 16.)));
    } else if (place == UNDERWATER) {
        c = mix(vec3(.01, .16, .34), vec3(.16, .62, .74), at.y * at.y);
        float rays = smooth_noise(vec2((at.x - .5) / (1.6 - at.y) * 16., 2.)) * smoothstep(.15, 1., at.y);
        c += vec3(.35, .5, .45) * rays * .6;
        for (int i = 0; i < 7; i++) {
            float k = float(i), x = h(vec2(k, 1.)), tall = .14 + .22 * h(vec2(k, 2.));
            float weed = abs(at.x - x - .03 * sin(at.y * 22. + k)) - .022 * (1. - at.y / tall);
            vec3 coral = h(vec2(k, 3.)) < .5 ? vec3(.75, .25, .35) : vec3(.12, .42, .25);
            if (at.y < tall) c = mix(c, coral * .8, smoothstep(.008, -.004, weed));
        }
        for (int i = 0; i < 6; i++) {
            float k = float(i);
            vec2 p = at - vec2(h(vec2(k, 6.)), .25 + .7 * h(vec2(k, 7.)));
            float body = length(p * vec2(1., 2.)) - .034, tail = abs(p.y) - .9 * (p.x - .03);
            vec3 fish = h(vec2(k, 8.)) < .5 ? vec3(.95, .6, .1) : vec3(.95, .85, .3);
            if (body < 0. || (tail < 0. && p.x < .062 && p.x > .02)) c = fish;
        }
        for (int i = 0; i < 16; i++) {
            float k = float(i), r = .006 + .014 * h(vec2(k, 13.)), d = length(at - vec2(h(vec2(k, 11.)), h(vec2(k, 12.))));
            c += vec3(.4, .55, .55) * smoothstep(r, r * .8, d) * smoothstep(r * .4, r, d);
        }
    } else if (place == STADIUM) {
        vec3 crowd = vec3(h(floor(at * vec2(60., 55.))), h(floor(at * vec2(60., 55.)) + 3.), h(floor(at * vec2(60., 55.)) + 7.));
        c = at.y > .82 ? mix(vec3(.45, .65, .9), vec3(.3, .5, .85), at.y) : mix(vec3(.2, .22, .3), crowd, .55) * (.65 + .4 * at.y);
        if (at.y < .46) c = vec3(.9, .9, .92) * (.75 + .25 * step(.5, fract(at.x * 4.)));
        if (at.y < .38) c = vec3(.14, .48, .13) * (.85 + .25 * step(.5, fract(at.y * 7. + .3))) * (.92 + .16 * cloudy(at * 40.));
        if (abs(at.y - .35) < .008) c = vec3(.9);
        for (int i = 0; i < 2; i++) {
            vec2 p = at - vec2(i == 0 ? .14 : .86, .9);
            if (abs(p.x) < .1 && abs(p.y) < .055) {
                vec2 lamp = fract(p * vec2(25., 27.)) - .5;
                c = mix(vec3(.2), vec3(1., 1., .95), smoothstep(.4, .3, length(lamp)));
            }
        }
    } else if (place == ATELIER) {
        c = vec3(.82, .74, .62) * (.9 + .15 * cloudy(at * 3.));
        for (int i = 0; i < 5; i++) {
            float k = float(i);
            vec2 size = vec2(.13 + .05 * h(vec2(k, 1.)), .13 + .07 * h(vec2(k, 2.)));
            vec2 p = at - vec2(.1 + .2 * k, .5 + .33 * h(vec2(k, 3.)));
            if (abs(p.x) < size.x * .75 && abs(p.y) < size.y) {
                vec2 q = p / size;
                vec3 a = vec3(h(vec2(k, 4.)), h(vec2(k, 5.)), h(vec2(k, 6.))), b = vec3(h(vec2(k, 7.)), h(vec2(k, 8.)), h(vec2(k, 9.)));
                c = mix(a, b, smoothstep(.4, .6, cloudy(q * 2.3 + k)));
                c = mix(c, vec3(.95, .8, .25), smoothstep(.3, .25, length(q - vec2(.2, .3))));
                if (abs(p.x) > size.x * .66 || abs(p.y) > size.y * .9) c = vec3(.4, .25, .12);
            }
        }
        if (at.y < .24) c = vec3(.45, .28, .15) * (.85 + .3 * smooth_noise(vec2(at.x * 3., at.y * 60.)));
    } else if (place == STAGE) {
        c = mix(vec3(.07, .03, .14), vec3(.02, .01, .05), at.y);
        for (int i = 0; i < 5; i++) {
            float k = float(i), foot = .1 + .2 * k, lean = (h(vec2(k, 1.)) - .5) * 1.1;
            float beam = abs(at.x - foot - lean * (1. - at.y)) / (.03 + .16 * (1. - at.y));
            vec3 tint = i % 3 == 0 ? vec3(.95, .15, .55) : i % 3 == 1 ? vec3(.2, .5, 1.) : vec3(.7, .35, 1.);
            c += tint * smoothstep(1., .2, beam) * (.25 + .55 * at.y);
            c = mix(c, vec3(1.), smoothstep(.03, .02, length(at - vec2(foot + lean * .06, .95))));
        }
        float heads = .16 + .05 * abs(sin(at.x * 34. + seed)) + .03 * h(vec2(floor(at.x * 11.), 3.));
        if (at.y < heads) c = vec3(.02, .015, .04);
    } else if (place == HOSPITAL) {
        c = at.y > .36 ? vec3(.80, .90, .90) : vec3(.50, .74, .74);
        if (abs(at.y - .36) < .012) c = vec3(.95);
        vec2 p = at - vec2(.2, .72);
        if (abs(p.x) < .13 && abs(p.y) < .16) c = mix(vec3(.6, .82, .97), vec3(.9, .96, 1.), at.y) * (abs(p.x) < .008 || abs(p.y) < .008 ? .75 : 1.);
        p = at - vec2(.83, .74);
        if (abs(p.x) < .11 && abs(p.y) < .11) {
            c = vec3(.97);
            if (max(abs(p.x), abs(p.y)) < .07 && min(abs(p.x), abs(p.y)) < .024) c = vec3(.85, .12, .15);
        }
        p = at - vec2(.84, .45);
        if (abs(p.x) < .12 && abs(p.y) < .1) {
            c = vec3(.06, .12, .14);
            float beat = .35 * exp(-pow((fract(p.x * 9.) - .5) * 9., 2.)) * sin((fract(p.x * 9.) - .5) * 30.);
            c = mix(c, vec3(.3, 1., .5), smoothstep(.012, .005, abs(p.y - beat * .2)));
        }
    } else if (place == CLOUDS) {
        c = mix(vec3(.55, .78, .97), vec3(.12, .36, .78), at.y);
        for (int i = 0; i < 4; i++) {
            float k = float(i), puff = cloudy(at * vec2(3.2 + k, 4.6 + k) + vec2(k * 7., k * 3.));
            float level = .62 - .16 * k;
            c = mix(c, vec3(.98, .97, .96) * (.84 + .2 * puff), smoothstep(.02, .14, puff - .42 - (at.y - level) * 1.2));
        }
    } else if (place == STREET) {
        c = mix(vec3(.24, .24, .27), vec3(.08, .09, .14), at.y);
        for (int side = 0; side < 2; side++) {
            float x = side == 0 ? at.x : 1. - at.x, wall = .34 - .10 * float(side);
            if (x < wall) {
                vec2 pane = fract(vec2(x * 9., at.y * 7.)) - .5;
                float on = step(.55, h(floor(vec2(x * 9., at.y * 7.)) + float(side) * 20.));
                c = mix(vec3(.10, .09, .10), vec3(.14, .13, .15), x / wall);
                if (abs(pane.x) < .26 && abs(pane.y) < .32 && at.y > .3) c = mix(vec3(.07, .08, .1), vec3(.95, .72, .32), on);
            }
        }
        vec2 p = at - vec2(.74, .74);
        c += vec3(1., .78, .42) * (.9 * smoothstep(.045, .035, length(p)) + .4 * exp(-14. * dot(p, p) * 6.));
        if (abs(p.x) < .008 && p.y < 0.) c = vec3(.04);
        c = mix(c, vec3(.38, .38, .42), .45 * cloudy(at * vec2(2., 5.)) * smoothstep(.9, .1, at.y));
        if (at.y < .16) c = mix(c, vec3(.75, .6, .35), .25 * smooth_noise(at * vec2(6., 60.)));
    } else if (place == FJORD) {
        c = mix(vec3(.80, .85, .88), vec3(.45, .6, .75), at.y);
        float far = ridge(at.x, .42, .42, 3.), left = .9 - 1.5 * at.x + .08 * smooth_noise(at.xx * 22.), right = -.75 + 1.5 * at.x + .08 * smooth_noise(at.xx * 19.);
        if (at.y < far) c = mix(vec3(.42, .5, .58), vec3(.93), smoothstep(.66, .72, at.y));
        if (at.y < left || at.y < right) c = mix(vec3(.16, .25, .2), vec3(.35, .38, .38), smoothstep(.45, .75, cloudy(at * vec2(9., 5.))));
        if (at.y < .34) c = mix(vec3(.05, .17, .26), vec3(.3, .45, .55), .5 * smooth_noise(at * vec2(9., 70.)));
        vec2 p = at - vec2(.2, .38);
        if (abs(p.x) < .12 && p.y > -.05 + 4. * p.x * p.x && p.y < .0 + 5. * p.x * p.x) c = vec3(.28, .15, .07);
        if (abs(p.x) < .065 && p.y > .03 && p.y < .19) c = mix(vec3(.75, .12, .1), vec3(.92, .88, .8), step(.5, fract(p.x * 30.)));
    } else if (place == BLOSSOMS) {
        c = mix(vec3(.85, .92, .97), vec3(.5, .72, .93), at.y);
        if (at.y < ridge(at.x, .32, .12, 3.)) c = vec3(.42, .55, .5);
        vec2 p = at - vec2(.82, .2);
        float roof = abs(p.x) * .7 + fract(p.y * 5.) / 5.;
        if (abs(p.x) < .12 && p.y > 0. && p.y < .5) c = roof < .13 ? vec3(.35, .1, .1) : vec3(.85, .8, .7);
        c = mix(c, vec3(.22, .13, .1), smoothstep(.018, .012, abs(at.x - .12 - .1 * at.y * at.y)));
        c = mix(c, vec3(.22, .13, .1), smoothstep(.012, .008, abs(at.y - .74 - .25 * (at.x - .2))) * step(at.x, .75));
        float bloom = cloudy(at * 7.) + .35 * at.y - .22 * at.x;
        c = mix(c, mix(vec3(.93, .55, .68), vec3(1., .83, .88), cloudy(at * 22.)), smoothstep(.60, .66, bloom));
        c = lights(c, 26, .011, vec3(.98, .7, .8), vec3(1., .85, .9), .35);
    } else if (place == SKYLINE) {
        c = mix(vec3(.75, .87, .97), vec3(.2, .48, .88), at.y);
        c = mix(c, vec3(.97), .6 * smoothstep(.5, .72, cloudy(at * vec2(3., 6.))) * at.y);
        for (int layer = 0; layer < 2; layer++) {
            float k = float(layer), tower = floor(at.x * (7. + 2. * k) + .4 * k), top = .68 - .22 * k - .32 * h(vec2(tower, 11. + k));
            if (at.y < top) {
                vec2 pane = floor(at * vec2(42., 40.));
                vec3 wall = layer == 0 ? vec3(.5, .62, .75) : vec3(.34, .42, .55);
                c = wall * (.85 + .3 * h(vec2(tower, 3. + k))) * (.8 + .35 * step(.5, fract(at.x * 42.)) * step(.4, fract(at.y * 40.)) * (.4 + h(pane)));
            }
        }
    } else if (place == LIBRARY) {
        float row = fract(at.y * 4.2), book = floor(at.x * 26. + 7. * floor(at.y * 4.2)), tall = .62 + .25 * h(vec2(book, floor(at.y * 4.2)));
        vec3 cover = vec3(h(vec2(book, 1.)), h(vec2(book, 2.)), h(vec2(book, 3.)));
        cover = mix(vec3(.5, .25, .12), cover * .8, .55) * (.6 + .5 * smoothstep(.0, .3, fract(at.x * 26.)) * smoothstep(1., .75, fract(at.x * 26.)));
        c = row < .1 ? vec3(.42, .24, .11) : row < tall ? cover : vec3(.09, .05, .03);
        if (abs(row - .3) < .02 && row < tall) c = vec3(.85, .65, .25);
        if (abs(fract(at.x * 2. + .25) - .5) < .03) c = vec3(.38, .21, .1);
    } else if (place == GREENHOUSE) {
        c = mix(vec3(.75, .88, .9), vec3(.55, .78, .95), at.y);
        vec2 frame = abs(fract(at * vec2(4., 3.)) - .5);
        if (frame.x > .475 || frame.y > .475) c = vec3(.93);
        float leaves = cloudy(at * vec2(9., 8.)) + .62 - at.y * 1.1;
        c = mix(c, mix(vec3(.08, .28, .08), vec3(.3, .6, .2), cloudy(at * 20.)), smoothstep(.42, .48, leaves));
        for (int i = 0; i < 16; i++) {
            float k = float(i), d = length(at - vec2(h(vec2(k, 1.)), .5 * h(vec2(k, 2.)))), r = .026 + .02 * h(vec2(k, 3.));
            vec3 petal = h(vec2(k, 4.)) < .4 ? vec3(.9, .2, .2) : h(vec2(k, 5.)) < .5 ? vec3(.98, .8, .2) : vec3(.95, .55, .75);
            c = mix(c, mix(vec3(.5, .3, .1), petal, smoothstep(.25, .35, d / r)), smoothstep(r, r * .85, d));
        }
    }
    colour = vec4(clamp(c * (1.08 - .12 * c) * sqrt(tone_light), 0., 1.), 1.);
}
