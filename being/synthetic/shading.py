"""The character's looks: the colour of every part and the studio's lights (a key, a fill, a rim, a dome).

Colours are linear RGB. Lights stand still in the room, which is the camera's space where the camera stands still, and
are broad: turning the head changes little.
"""

from __future__ import annotations

from math import sin, sqrt

from being.synthetic import anatomy, looks, rig
from being.synthetic.anatomy import parts, scene, to_local
from being.synthetic.kernels import jit

# Where the lights stand (unit vectors, kernel axes).
KEY = (-0.489, 0.565, 0.665)
FILL = (0.780, 0.130, 0.612)
RIM_RIGHT = (0.640, 0.480, -0.600)
RIM_LEFT = (-0.760, 0.300, -0.576)

BACKDROP, SKIN, NECK, CLOTH, HAIR, EYE, TEETH, TONGUE, GLASSES = 0, 1, 2, 3, 4, 5, 6, 7, 8


@jit
def smooth_step(a, b, x):
    """0 below a, 1 above b, a cubic between."""
    t = min(1.0, max(0.0, (x - a) / (b - a)))
    return t * t * (3.0 - 2.0 * t)


@jit
def mix(a, b, t):
    """Both colours (3-tuples) blended."""
    return a[0] + (b[0] - a[0]) * t, a[1] + (b[1] - a[1]) * t, a[2] + (b[2] - a[2]) * t


@jit
def colour_of(p, slot):
    """A colour (3-tuple) of the look."""
    return p[rig.LOOK + slot], p[rig.LOOK + slot + 1], p[rig.LOOK + slot + 2]


@jit
def backdrop(u, v, p):
    """Colour of the studio wall at u, v in [-1, 1] (y up): a soft glow behind the shoulder, darker to the corners."""
    du, dv = u - 0.15, v - 0.10
    glow = 1.0 / (1.0 + 0.85 * (du * du + dv * dv))
    w, g = colour_of(p, looks.WALL), colour_of(p, looks.WALL_GLOW)
    return w[0] + g[0] * glow * glow, w[1] + g[1] * glow * glow, w[2] + g[2] * glow * glow


@jit
def skin_colour(x, y, z, p):
    """Painted skin at a point of head space (cheeks, lips, brows, lashes, the mouth's walls): rgb and gloss."""
    c = (0.82, 0.49, 0.355)
    gloss = 0.16
    ax = abs(x)
    if z > 0.1:
        # warmth of cheeks, nose tip, and chin
        dx, dy = ax - 0.37, y + 0.24
        blush = 1.0 / (1.0 + 30.0 * dx * dx + 42.0 * dy * dy)
        c = mix(c, (0.80, 0.29, 0.22), 0.50 * blush * blush)
        dx, dy, dz = x, y + 0.24, z - 0.93
        tip = 1.0 / (1.0 + 60.0 * (dx * dx + dy * dy + dz * dz))
        c = mix(c, (0.82, 0.32, 0.24), 0.30 * tip * tip)
        # nostrils
        dx, dy, dz = ax - 0.046, y + 0.342, z - 0.815
        nostril = smooth_step(1.35, 0.75, sqrt(dx * dx * 900.0 + dy * dy * 1600.0 + dz * dz * 300.0))
        c = mix(c, (0.26, 0.080, 0.060), 0.85 * nostril)
        gloss *= 1.0 - nostril
        # lid tint and lashes
        side = 1.0 if x > 0 else -1.0
        u, v, w = (ax - anatomy.EYE_X), (y - anatomy.EYE_Y), (z - anatomy.EYE_Z)
        r = sqrt(u * u + v * v + w * w)
        if r < 0.36 and w > 0:
            u, v = u / anatomy.EYE_RADIUS, v / anatomy.EYE_RADIUS
            upper, lower = anatomy.lid_edges(u, side, p)
            near = smooth_step(0.36, 0.29, r)
            above = v - upper
            if above > -0.15:
                tint = smooth_step(0.75, 0.0, above) * smooth_step(-0.15, 0.0, above) * smooth_step(1.15, 0.75, abs(u))
                c = mix(c, (0.66, 0.31, 0.24), 0.40 * near * tint)
            width = 0.085 + 0.05 * smooth_step(-0.3, 0.9, u)
            ends = smooth_step(0.99, 0.80, abs(u + 0.02))
            lash = smooth_step(width + 0.05, width - 0.05, above) * smooth_step(-0.14, -0.06, above) * ends
            c = mix(c, (0.030, 0.016, 0.014), 0.95 * lash * near)
            gloss *= 1.0 - lash
            under = smooth_step(0.10, 0.0, abs(v - lower + 0.02)) * smooth_step(1.0, 0.7, abs(u)) * near
            c = mix(c, (0.42, 0.20, 0.16), 0.30 * under * (1.0 - lash))
        if y > 0.25:
            brow = anatomy.brow_depth(x, y, p)
            hairy = smooth_step(-0.15, 0.50, brow)
            c = mix(c, colour_of(p, looks.BROWS), 0.90 * hairy)
            gloss *= 1.0 - hairy
        # lips and what is behind them
        wide = p[rig.LIP_HALF_WIDTH]
        if y < -0.3 and ax < wide + 0.12 and y > -1.2:
            s = min(1.0, max(-1.0, x / wide))
            upper_outer, upper, lower, lower_outer = anatomy.lip_edges(s, p)
            soft = 0.016
            inside = min(upper_outer - y, y - lower_outer)
            red = smooth_step(-soft, soft, inside) * smooth_step(1.04, 0.93, ax / wide)
            front = p[rig.LIP_Z] - p[rig.LIP_CURVE] * x * x
            c = mix(c, (0.62, 0.155, 0.145), 0.88 * red)
            seam = min(abs(y - upper), abs(y - lower))
            c = mix(c, (0.26, 0.040, 0.038), 0.75 * red * smooth_step(0.020, 0.004, seam))
            gloss += 0.20 * red
            # the walls of the open mouth darken inwards
            front -= p[rig.LIP_SINK] * s * s * s * s
            if p[rig.LIP_RAISE] + p[rig.LIP_DROP] > 0.004 and z < front - 0.06:
                wall = smooth_step(0.060, 0.030, anatomy.mouth_hole(x, y, z, p))
                deep = wall * smooth_step(front - 0.06, front - 0.17, z)
                c = mix(c, (0.17, 0.024, 0.024), deep)
                gloss *= 1.0 - deep
    if p[rig.LOOK + looks.BEARD] > 0.0:
        cover = smooth_step(0.05, 0.75, anatomy.beard_cover(x, y, z, p))
        strands = 1.0 + 0.22 * sin(46.0 * x + 5.0 * sin(13.0 * y)) * sin(31.0 * y + 9.0 * z)
        b = colour_of(p, looks.BROWS)
        c = mix(c, (b[0] * strands, b[1] * strands, b[2] * strands), 0.88 * cover)
        gloss *= 1.0 - cover
    tone = colour_of(p, looks.SKIN)
    return c[0] * tone[0], c[1] * tone[1], c[2] * tone[2], gloss


@jit
def eye_colour(x, y, z, p):
    """The eyeball at a point of head space: sclera, limbal ring, iris, pupil."""
    right = x > 0
    slot = rig.GAZE_RIGHT if right else rig.GAZE_LEFT
    side = 1.0 if right else -1.0
    dx, dy, dz = x - side * anatomy.EYE_X, y - anatomy.EYE_Y, z - anatomy.EYE_Z
    n = 1.0 / sqrt(dx * dx + dy * dy + dz * dz)
    dx, dy, dz = dx * n, dy * n, dz * n
    gx, gy, gz = p[slot], p[slot + 1], p[slot + 2]
    cos = dx * gx + dy * gy + dz * gz
    r = sqrt(max(0.0, 2.0 - 2.0 * cos))  # chord, eyeball radii
    c = (0.80, 0.79, 0.77)
    c = mix(c, (0.70, 0.42, 0.38), 0.55 * smooth_step(0.55, 1.0, abs(dx)))
    iris = 0.545
    t = r / iris
    inner, outer = colour_of(p, looks.IRIS_INNER), colour_of(p, looks.IRIS_OUTER)
    ring = mix(inner, outer, smooth_step(0.35, 0.95, t))
    low = smooth_step(-0.30, 0.40, gy - dy)  # light gathers in the iris opposite the key
    ring = mix(ring, (ring[0] * 2.9, ring[1] * 2.8, ring[2] * 2.6), low * smooth_step(0.98, 0.6, t))
    ring = mix(ring, (0.012, 0.014, 0.012), smooth_step(0.78, 0.98, t))
    ring = mix((0.004, 0.004, 0.004), ring, smooth_step(0.41, 0.51, t))
    c = mix(ring, c, smooth_step(0.94, 1.06, t))
    # the shade the upper lid throws
    upper, lower = anatomy.lid_edges((abs(x) - anatomy.EYE_X) / anatomy.EYE_RADIUS, side, p)
    v = (y - anatomy.EYE_Y) / anatomy.EYE_RADIUS
    shade = 1.0 - 0.55 * smooth_step(0.32, 0.0, upper - v) - 0.12 * smooth_step(0.15, 0.0, v - lower)
    return c[0] * shade, c[1] * shade, c[2] * shade


@jit
def hair_colour(x, y, z, p):
    """Soft broad streaks that follow the combing, at a point of head space."""
    a = anatomy.comb(x, y, z, p)
    tone = 0.45 + 0.35 * y - 0.26 * sin(13.0 * a) - 0.20 * sin(29.0 * a) + 0.12 * sin(5.0 * a)
    return mix(colour_of(p, looks.HAIR_DARK), colour_of(p, looks.HAIR_LIGHT), min(1.0, max(0.0, tone)))


@jit
def classify(x, y, z, p):
    """Which part the surface at a camera-side point belongs to."""
    skin, throat, cloth, locks, eye, teeth, tongue, worn = parts(x, y, z, p)
    part, best = SKIN, skin
    if throat < best:
        part, best = NECK, throat
    if cloth < best:
        part, best = CLOTH, cloth
    if locks < best:
        part, best = HAIR, locks
    if eye < best:
        part, best = EYE, eye
    if teeth < best:
        part, best = TEETH, teeth
    if tongue < best:
        part, best = TONGUE, tongue
    if worn < best:
        part, best = GLASSES, worn
    return part


@jit
def turned(v, p, back):
    """A direction of the room (3) as the camera sees it; back: one that the camera sees as it is in the room."""
    a, b = (3, 1) if back else (1, 3)
    k = rig.LIGHTS
    return (
        p[k] * v[0] + p[k + a] * v[1] + p[k + 2 * a] * v[2],
        p[k + b] * v[0] + p[k + b + a] * v[1] + p[k + b + 2 * a] * v[2],
        p[k + 2 * b] * v[0] + p[k + 2 * b + a] * v[1] + p[k + 2 * b + 2 * a] * v[2],
    )


@jit
def lit(n, lx, ly, lz, wrap):
    """Diffuse light that wraps around the terminator by `wrap`."""
    d = (n[0] * lx + n[1] * ly + n[2] * lz + wrap) / (1.0 + wrap)
    return max(0.0, d)


@jit
def shade(x, y, z, dx, dy, dz, p):
    """Colour of the surface at a camera-side point seen along the unit ray (dx, dy, dz). Returns part, r, g, b."""
    e = 0.006
    a = scene(x + e, y - e, z - e, p)
    b = scene(x - e, y - e, z + e, p)
    c = scene(x - e, y + e, z - e, p)
    d = scene(x + e, y + e, z + e, p)
    nx, ny, nz = a - b - c + d, -a - b + c + d, -a + b - c + d
    m = 1.0 / (sqrt(nx * nx + ny * ny + nz * nz) + 1e-12)
    n = (nx * m, ny * m, nz * m)
    part = classify(x, y, z, p)
    hx, hy, hz = to_local(x, y, z, p, rig.HEAD)
    if part == EYE:  # the ball's own normal: the blend with the lids would glitter
        side = anatomy.EYE_X if hx > 0 else -anatomy.EYE_X
        ux, uy, uz = hx - side, hy - anatomy.EYE_Y, hz - anatomy.EYE_Z
        m = 1.0 / sqrt(ux * ux + uy * uy + uz * uz)
        ux, uy, uz = ux * m, uy * m, uz * m
        n = (p[0] * ux + p[1] * uy + p[2] * uz, p[3] * ux + p[4] * uy + p[5] * uz, p[6] * ux + p[7] * uy + p[8] * uz)

    # how open the surface is to the dome, and to the key
    ao = 0.0
    weight = 1.0
    for k in range(3):
        h = 0.05 + 0.13 * k
        ao += weight * max(0.0, h - scene(x + n[0] * h, y + n[1] * h, z + n[2] * h, p))
        weight *= 0.62
    openness = max(0.0, 1.0 - 1.9 * ao)
    shadow = 1.0
    key = turned(KEY, p, False)
    if part != EYE and part != TEETH:
        t = 0.07
        for _ in range(9):
            q = scene(x + n[0] * 0.02 + key[0] * t, y + n[1] * 0.02 + key[1] * t, z + n[2] * 0.02 + key[2] * t, p)
            shadow = min(shadow, 0.5 + 0.5 * q * 2.6 / t)
            t += max(0.05, min(0.28, q))
            if shadow <= 0.0 or t > 1.5:
                break
        shadow = max(0.0, shadow)
        shadow = shadow * shadow * (3.0 - 2.0 * shadow)
    shadow = 0.30 + 0.70 * shadow
    # from here on in the room, where the lights stand
    n = turned(n, p, True)
    dx, dy, dz = turned((dx, dy, dz), p, True)

    gloss = 0.10
    wrap_r, wrap_g, wrap_b = 0.25, 0.25, 0.25
    if part == SKIN:
        r, g, bl, gloss = skin_colour(hx, hy, hz, p)
        wrap_r, wrap_g, wrap_b = 0.50, 0.30, 0.25
    elif part == NECK:
        tone = colour_of(p, looks.SKIN)
        r, g, bl, gloss = 0.82 * tone[0], 0.49 * tone[1], 0.355 * tone[2], 0.10
        wrap_r, wrap_g, wrap_b = 0.50, 0.30, 0.25
    elif part == CLOTH:
        _, height, _ = to_local(x, y, z, p, rig.TORSO)
        striped = smooth_step(-0.25, 0.25, sin(p[rig.LOOK + looks.STRIPES] * height))
        r, g, bl = mix(colour_of(p, looks.CLOTH), colour_of(p, looks.CLOTH_STRIPE), striped)
        gloss = 0.02
        wrap_r, wrap_g, wrap_b = 0.35, 0.35, 0.35
    elif part == HAIR:
        r, g, bl = hair_colour(hx, hy, hz, p)
        gloss = 0.0
    elif part == EYE:
        r, g, bl = eye_colour(hx, hy, hz, p)
        gloss = 0.0
    elif part == TEETH:
        depth = smooth_step(0.30, 0.10, p[rig.LIP_Z] - hz)
        r, g, bl = 0.86 * depth, 0.82 * depth, 0.76 * depth
    elif part == GLASSES:
        r, g, bl = colour_of(p, looks.FRAME)
        gloss = 0.5
    else:
        depth = 0.35 + 0.65 * smooth_step(0.42, 0.16, p[rig.LIP_Z] - hz)
        r, g, bl = 0.72 * depth, 0.24 * depth, 0.23 * depth

    kr = lit(n, KEY[0], KEY[1], KEY[2], wrap_r) * shadow
    kg = lit(n, KEY[0], KEY[1], KEY[2], wrap_g) * (shadow - 0.05 * (1.0 - shadow))
    kb = lit(n, KEY[0], KEY[1], KEY[2], wrap_b) * (shadow - 0.07 * (1.0 - shadow))
    fill = lit(n, FILL[0], FILL[1], FILL[2], 0.4) * (0.4 + 0.6 * openness)
    rim = lit(n, RIM_RIGHT[0], RIM_RIGHT[1], RIM_RIGHT[2], 0.0) + 0.6 * lit(
        n, RIM_LEFT[0], RIM_LEFT[1], RIM_LEFT[2], 0.0
    )
    rim *= smooth_step(0.45, 0.95, openness) * (0.40 if part == HAIR else 0.75)
    dome = (0.62 + 0.38 * n[1]) * openness
    lr = 0.92 * kr + 0.20 * fill + 0.38 * dome + 0.75 * rim + 0.03 * (1.0 - openness)
    lg = 0.86 * kg + 0.19 * fill + 0.37 * dome + 0.72 * rim
    lb = 0.78 * kb + 0.185 * fill + 0.37 * dome + 0.70 * rim
    r, g, bl = r * lr, g * lg, bl * lb

    # sheen: broad highlights of the key, and the rim of the skin
    hxv, hyv, hzv = KEY[0] - dx, KEY[1] - dy, KEY[2] - dz
    m = 1.0 / sqrt(hxv * hxv + hyv * hyv + hzv * hzv)
    nh = max(0.0, (n[0] * hxv + n[1] * hyv + n[2] * hzv) * m)
    facing = max(0.0, -(n[0] * dx + n[1] * dy + n[2] * dz))
    if part == EYE:
        spark = smooth_step(0.9905, 0.9945, nh)
        r, g, bl = r + (1.1 - r) * spark, g + (1.1 - g) * spark, bl + (1.1 - bl) * spark
    elif part == HAIR:
        # a band across the combing: bright where the normal's height matches the key's
        band = n[1] * 0.8 + n[2] * 0.25
        glow = smooth_step(0.30, 0.62, band) * smooth_step(0.94, 0.66, band) * shadow
        edge = (1.0 - facing) * (1.0 - facing)
        sheen = colour_of(p, looks.HAIR_SHEEN)
        r += 0.26 * glow * sheen[0] + 0.05 * edge * openness
        g += 0.26 * glow * sheen[1] + 0.025 * edge * openness
        bl += 0.26 * glow * sheen[2] + 0.018 * edge * openness
    else:
        s2 = nh * nh
        s4 = s2 * s2
        s8 = s4 * s4
        s16 = s8 * s8
        s = gloss * (0.6 * s16 + 0.4 * s16 * s16 * s8) * shadow * openness
        f = (1.0 - facing) * (1.0 - facing) * (1.0 - facing) * 0.10 * openness
        r, g, bl = r * (1 + f) + s, g * (1 + f) + s * 0.96, bl * (1 + f) + s * 0.92
    return part, r, g, bl
