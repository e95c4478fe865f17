"""The character's shape: signed distances of every part at a point, smoothly blended.

Blends are the polynomial smooth minimum; ellipsoids use the first-order distance k0 (k0 - 1) / k1. Neither overshoots
by much, and the tracer steps a little short of them. All lengths are decimetres.
"""

from __future__ import annotations

from math import atan2, sin, sqrt

from being.synthetic import looks, rig
from being.synthetic.kernels import jit

EYE_X, EYE_Y, EYE_Z, EYE_RADIUS = 0.312, 0.060, 0.494, 0.243
EYE_HALF_WIDTH = 0.84  # of the lid opening, in eyeball radii
EYE_TILT = 0.10  # the outer corner stands above the inner one
BROW_INNER, BROW_OUTER, BROW_Y = 0.150, 0.535, 0.362
FAR_OFF = 9.0  # dm, for what is not there
GLASSES_Z = 0.875  # of their front, where it crosses the nose


@jit
def smooth_min(a, b, k):
    """The smaller of two distances, rounded over a width k."""
    h = max(k - abs(a - b), 0.0) / k
    return min(a, b) - h * h * k * 0.25


@jit
def smooth_max(a, b, k):
    """The larger of two distances, rounded over a width k."""
    h = max(k - abs(a - b), 0.0) / k
    return max(a, b) + h * h * k * 0.25


@jit
def ellipsoid(x, y, z, rx, ry, rz):
    """Approximate distance to an ellipsoid at the origin."""
    a, b, c = x / rx, y / ry, z / rz
    k0 = sqrt(a * a + b * b + c * c)
    a, b, c = a / rx, b / ry, c / rz
    k1 = sqrt(a * a + b * b + c * c) + 1e-9
    return k0 * (k0 - 1.0) / k1


@jit
def ball(x, y, z, r):
    """Distance to a ball at the origin."""
    return sqrt(x * x + y * y + z * z) - r


@jit
def capsule(x, y, z, ax, ay, az, bx, by, bz, ra, rb):
    """Distance to a rod from a to b whose radius runs from ra to rb."""
    dx, dy, dz = bx - ax, by - ay, bz - az
    px, py, pz = x - ax, y - ay, z - az
    h = (px * dx + py * dy + pz * dz) / (dx * dx + dy * dy + dz * dz)
    h = min(1.0, max(0.0, h))
    return ball(px - h * dx, py - h * dy, pz - h * dz, ra + (rb - ra) * h)


@jit
def to_local(x, y, z, p, slot):
    """A camera-side point in the space of the head (slot HEAD) or the torso (slot TORSO)."""
    x, y, z = x - p[slot + 9], y - p[slot + 10], z - p[slot + 11]
    return (
        p[slot] * x + p[slot + 3] * y + p[slot + 6] * z,
        p[slot + 1] * x + p[slot + 4] * y + p[slot + 7] * z,
        p[slot + 2] * x + p[slot + 5] * y + p[slot + 8] * z,
    )


@jit
def lip_edges(s, p):
    """Heights of the lips' edges at s (-1 corner .. 1 corner): upper outer, upper inner, lower inner, lower outer."""
    c = max(0.0, 1.0 - s * s)
    e = p[rig.LIP_OVAL]
    opening = c * sqrt(1.0 + e) / sqrt(c + e)
    body = c * 1.1402 / sqrt(c + 0.3)
    line = p[rig.LIP_Y] + p[rig.LIP_CORNER] * s * s
    upper = line + p[rig.LIP_RAISE] * opening
    lower = line - p[rig.LIP_DROP] * opening
    bow = 1.0 - 0.24 / (1.0 + 50.0 * s * s)
    return upper + p[rig.LIP_UPPER] * body * bow * 1.12, upper, lower, lower - p[rig.LIP_LOWER] * body


@jit
def lid_edges(u, side_sign, p):
    """Heights of both lid edges at u (eyeball radii from the eye's centre, positive outward), in eyeball radii."""
    right = side_sign > 0
    upper = p[rig.LID_UPPER_RIGHT] if right else p[rig.LID_UPPER_LEFT]
    lower = p[rig.LID_LOWER_RIGHT] if right else p[rig.LID_LOWER_LEFT]
    v = u / EYE_HALF_WIDTH
    c = max(0.0, 1.0 - v * v)
    arch = c * 1.14 / sqrt(c + 0.3)
    skew = 1.0 - 0.10 * v
    return EYE_TILT * u + upper * arch * skew, EYE_TILT * u + lower * c


@jit
def brow_spine(t, x, p):
    """Height of the brow's middle line at t (0 inner end .. 1 outer end) of the side of x."""
    raised = p[rig.BROW_RIGHT] if x > 0 else p[rig.BROW_LEFT]
    return BROW_Y + raised + 0.045 - 0.22 * (t - 0.50) * (t - 0.50)


@jit
def brow_depth(x, y, p):
    """How deep a point of the forehead lies in its side's brow: 1 on the spine, 0 at the edge, negative outside."""
    t = (abs(x) - BROW_INNER) / (BROW_OUTER - BROW_INNER)
    tc = min(1.0, max(0.0, t))
    half = 0.040 * (1.0 - 0.55 * tc * tc) * p[rig.LOOK + looks.BROW_WIDTH]
    dx, dy = (t - tc) * (BROW_OUTER - BROW_INNER), y - brow_spine(tc, x, p)
    return 1.0 - sqrt(dx * dx + dy * dy) / half


@jit
def mouth_hole(x, y, z, p):
    """Distance to what an open mouth cuts out of the face: the slit between the lips, and the cavity behind it."""
    w = p[rig.LIP_HALF_WIDTH]
    ax = abs(x)
    _, upper, lower, _ = lip_edges(min(1.0, max(-1.0, x / w)), p)
    slit = max(max(max(y - upper, lower - y), p[rig.LIP_Z] - 0.55 - z), ax - w)
    gap = p[rig.LIP_RAISE] + p[rig.LIP_DROP]
    middle = p[rig.LIP_Y] + 0.5 * (p[rig.LIP_RAISE] - p[rig.LIP_DROP])
    cavity = ellipsoid(x, y - middle, z - p[rig.LIP_Z] + 0.40, w * 0.95, 0.05 + 0.6 * gap, 0.25)
    return min(slit, cavity)


@jit
def skin_of_head(x, y, z, p):
    """Distance to the head's skin: face, nose, lids, lips; the mouth and the eye openings are cut out."""
    ax = abs(x)
    d = ellipsoid(x, y - 0.30, z + 0.10, 0.76, 0.82, 0.88)  # cranium
    face = 0.62 * p[rig.LOOK + looks.FACE_WIDTH]
    d = smooth_min(d, ellipsoid(x, y + 0.11, z - 0.10, face, 0.73, 0.64), 0.25)
    # The jaw turns about its hinge.
    hy, hz = y - rig.JAW_HINGE[0], z - rig.JAW_HINGE[1]
    jy = p[rig.JAW_COS] * hy + p[rig.JAW_SIN] * hz + rig.JAW_HINGE[0]
    jz = p[rig.JAW_COS] * hz - p[rig.JAW_SIN] * hy + rig.JAW_HINGE[1]
    d = smooth_min(d, ellipsoid(x, jy + 0.57, jz - 0.22, 0.405 * p[rig.LOOK + looks.JAW_WIDTH], 0.36, 0.46), 0.28)
    chin = jy + 0.865 + p[rig.LOOK + looks.CHIN_DROP]
    d = smooth_min(d, ellipsoid(x, chin, jz - 0.52, 0.17 * p[rig.LOOK + looks.JAW_WIDTH], 0.14, 0.19), 0.26)
    lift = 0.05 * p[rig.SMILE]
    full = 0.235 * p[rig.LOOK + looks.CHEEKS] + 0.2 * lift
    d = smooth_min(d, ball(ax - 0.345, y + 0.225 - lift, z - 0.455 - 0.4 * lift, full), 0.24)  # cheeks
    if p[rig.LOOK + looks.AURICLES] > 0.0:
        auricle = ellipsoid(ax - 0.76 + 0.25 * (z + 0.10), y + 0.02, z + 0.10, 0.055, 0.20, 0.12)
        auricle = smooth_max(auricle, -ellipsoid(ax - 0.82, y, z + 0.06, 0.045, 0.12, 0.06), 0.03)
        d = smooth_min(d, auricle, 0.06)
    if z > 0.1 and ax < 0.8 and y < 0.75:
        drop = p[rig.JAW_DROP]
        muzzle = ellipsoid(x, y - p[rig.LIP_Y] - 0.02 + 0.4 * drop, z - 0.40, 0.34, 0.25 + 0.4 * drop, 0.40)
        d = smooth_min(d, muzzle, 0.16)
        # Eyes: a socket, then lids that wrap the eyeball.
        side = 1.0 if x > 0 else -1.0
        ex, ey, ez = ax - EYE_X, y - EYE_Y, z - EYE_Z
        eye = sqrt(ex * ex + ey * ey + ez * ez)
        if eye < 0.55:
            d = smooth_max(d, -ellipsoid(ex, ey - 0.015, ez - 0.14, 0.20, 0.135, 0.13), 0.12)
            upper, lower = lid_edges(ex / EYE_RADIUS, side, p)
            v = ey / EYE_RADIUS
            inside = min(min(upper - v, v - lower), EYE_HALF_WIDTH - abs(ex) / EYE_RADIUS) * EYE_RADIUS
            thick = 0.018
            shell = abs(eye - EYE_RADIUS - thick * 0.8) - thick
            lid = smooth_max(shell, inside * 0.8, 0.02)
            d = smooth_max(d, min(inside * 0.8, EYE_RADIUS + 0.3 - eye), 0.03)
            d = smooth_min(d, lid, 0.06)
        # Nose
        if y < 0.5 and ax < 0.5:
            nose = capsule(x, y, z, 0.0, 0.12, 0.64, 0.0, -0.24, 0.80, 0.045, 0.062)
            broad = p[rig.LOOK + looks.NOSE_WIDTH]
            nose = smooth_min(nose, ellipsoid(x, y + 0.262, z - 0.835, 0.085 * broad, 0.075, 0.090), 0.10)
            nose = smooth_min(nose, ellipsoid(ax - 0.082 * broad, y + 0.295, z - 0.760, 0.054, 0.048, 0.070), 0.06)
            nose = smooth_max(nose, -ellipsoid(ax - 0.046, y + 0.345, z - 0.815, 0.026, 0.020, 0.040), 0.03)
            d = smooth_min(d, nose, 0.11)
        if y > 0.25:
            brow = brow_depth(x, y, p)
            if brow > 0.0:
                d -= 0.006 * min(1.0, 1.5 * brow)
        # Mouth
        if y < -0.15:
            w = p[rig.LIP_HALF_WIDTH]
            xc = min(w, max(-w, x))
            out = x - xc
            s = xc / w
            upper_outer, upper, lower, lower_outer = lip_edges(s, p)
            front = p[rig.LIP_Z] - p[rig.LIP_CURVE] * xc * xc
            if p[rig.LIP_RAISE] + p[rig.LIP_DROP] > 0.004:
                d = smooth_max(d, -mouth_hole(x, y, z, p), 0.03)
            depth = 0.02 + 0.07 * sqrt(max(0.0, 1.0 - s * s))
            front -= p[rig.LIP_SINK] * s * s * s * s
            hu = 0.5 * (upper_outer - upper) + 0.012
            hl = 0.5 * (lower - lower_outer) + 0.012
            ul = ellipsoid(out, y - upper - hu, z - front + depth, 0.03 + hu, hu, depth)
            ll = ellipsoid(out, y - lower + hl, z - front + depth + 0.012 + p[rig.LIP_ROLL], 0.03 + hl, hl, depth)
            d = smooth_min(d, min(ul, ll) + abs(out), 0.05)
    if p[rig.LOOK + looks.BEARD] > 0.0:
        d -= p[rig.LOOK + looks.BEARD] * beard_cover(x, y, z, p)
    return d


@jit
def ramp(a, b, x):
    """0 below a, 1 above b, straight between."""
    return min(1.0, max(0.0, (x - a) / (b - a)))


@jit
def beard_cover(x, y, z, p):
    """How much of the beard a point of the head's skin lies under: 1 on jaw, chin and upper lip, 0 elsewhere."""
    ax = abs(x)
    if y > 0.15 or z < -0.15 or ax > 0.70:
        return 0.0
    wide = p[rig.LIP_HALF_WIDTH]
    upper_outer, _, _, lower_outer = lip_edges(min(1.0, max(-1.0, x / wide)), p)
    # under a line that runs from before the ear down across the cheek to the upper lip
    cheek = -0.385 + 1.15 * max(0.0, ax - wide - 0.02)
    cover = ramp(0.05, -0.05, y - min(cheek, 0.12)) * ramp(0.70, 0.66, ax)
    on_lips = min(min(upper_outer + 0.012 - y, y - lower_outer + 0.012), wide + 0.02 - ax)
    return cover * ramp(0.012, -0.018, on_lips)


@jit
def comb(x, y, z, p):
    """Coordinate across the strands: constant along the combing, which runs from the parting down and to the side."""
    return atan2(x - p[rig.LOOK + looks.HAIR_PARTING], z + 0.16) + 0.35 * y


@jit
def hair(x, y, z, p):
    """Distance to the hair: a full cap, parted, swept off the forehead and falling in a bob to the jaw; or cropped."""
    ax = abs(x)
    if p[rig.LOOK + looks.HAIR_SHORT] > 0.0:
        return cropped(x, y, z)
    d = ellipsoid(x, y - 0.40, z + 0.10, 0.87, 0.93, 0.955)
    bob = ellipsoid(ax - 0.56, y + 0.22, z + 0.17, 0.33, 0.86, 0.52)
    d = smooth_min(d, bob, 0.30)
    if d > 0.25:
        return d - 0.02
    # the face's window: under the hairline, which falls from the parting to both temples
    t = x - p[rig.LOOK + looks.HAIR_PARTING]
    fall = 0.62 * t * t + 0.10 * t if t > 0.0 else 2.6 * t * t
    line = p[rig.LOOK + looks.HAIR_LINE] - fall * p[rig.LOOK + looks.HAIR_SWEEP]
    window = max(max(y - line, ax - 0.565 - 0.03 * y), 0.04 - z)
    d = smooth_max(d, -window * 0.8, 0.30)
    a = comb(x, y, z, p)
    return d + 0.013 * sin(13.0 * a) + 0.006 * sin(29.0 * a)


@jit
def cropped(x, y, z):
    """Distance to hair cut short: a thin cap above the ears, its line rising over the temples to the forehead."""
    d = ellipsoid(x, y - 0.34, z + 0.115, 0.795, 0.845, 0.90)
    if d > 0.25:
        return d - 0.02
    line = 0.05 + 0.35 * min(0.0, z) + 1.25 * max(0.0, z - 0.10) + 0.10 * x * x
    return smooth_max(d, line - y, 0.05) + 0.006 * sin(24.0 * x + 3.0 * sin(9.0 * z)) * sin(17.0 * z + 11.0 * y)


@jit
def glasses(x, y, z):
    """Distance to a pair of glasses: two rounded rims, a bridge and the temples that run back to the ears."""
    ax = abs(x)
    u, v, w = ax - EYE_X - 0.01, y - EYE_Y + 0.03, z - GLASSES_Z + 0.22 * ax * ax
    bu, bv = abs(u) - 0.155, abs(v) - 0.095
    box = sqrt(max(bu, 0.0) ** 2 + max(bv, 0.0) ** 2) + min(max(bu, bv), 0.0) - 0.095
    d = sqrt(box * box + w * w) - 0.017
    d = min(d, capsule(ax, y, z, 0.0, 0.085, GLASSES_Z, 0.085, 0.075, GLASSES_Z - 0.005, 0.016, 0.016))
    return min(d, capsule(ax, y, z, 0.565, 0.09, GLASSES_Z - 0.07, 0.76, 0.06, -0.05, 0.018, 0.018))


@jit
def mouth_parts(x, y, z, p):
    """Distances to the teeth and the tongue."""
    if abs(x) > 0.5 or abs(y + 0.62) > 0.5 or z < 0.0:
        return 0.2, 0.2
    arch = abs(ball(x, 0.0, (z - rig.MOUTH_Z + 0.43) * 0.82, 0.26)) * 0.95 - 0.02
    upper = smooth_max(arch, max(p[rig.TEETH_UPPER] + 0.25 * x * x - y, y - p[rig.TEETH_UPPER] - 0.16), 0.03)
    arch = abs(ball(x, 0.0, (z - rig.MOUTH_Z + 0.46 + 0.25 * p[rig.JAW_DROP]) * 0.82, 0.24)) * 0.95 - 0.02
    lower = smooth_max(arch, max(y - p[rig.TEETH_LOWER], p[rig.TEETH_LOWER] - 0.09 - y), 0.03)
    ty = y - p[rig.TONGUE_Y] - p[rig.TONGUE_TIP] * min(1.0, max(0.0, 3.0 * (z - p[rig.TONGUE_Z])))
    tongue = ellipsoid(x, ty, z - p[rig.TONGUE_Z], 0.19, 0.075, 0.27)
    return min(upper, lower), tongue


@jit
def garment(x, y, z, p):
    """Distance to the sweater (torso space)."""
    ax = abs(x)
    low = p[rig.LOOK + looks.NECKLINE]
    d = ellipsoid(x, y + 2.75, z + 0.40, 1.22, 1.05, 0.68)
    d = smooth_min(d, capsule(ax, y, z, 0.20, -1.62, -0.42, 1.16, -1.98, -0.48, 0.26, 0.37), 0.40)
    d = smooth_min(d, capsule(ax, y, z, 1.20, -2.05, -0.48, 1.46, -3.6, -0.38, 0.36, 0.38), 0.30)
    d = smooth_min(d, capsule(x, y, z, 0.0, -2.0, -0.45, 0.0, -1.50 - low, -0.36, 0.52, 0.42), 0.16)
    cy = y + 1.42 + low + 0.30 * (z + 0.36)
    r = sqrt(x * x + (z + 0.34) * (z + 0.34)) - 0.43
    collar = sqrt(r * r + cy * cy * 0.40) - 0.062
    return smooth_min(d, collar, 0.08)


@jit
def neck(x, y, z, p):
    """Distance to the neck, a rod from the head's base to the torso's: it bends under both poses (kernel axes)."""
    n = rig.NECK_ENDS
    return capsule(x, y, z, p[n], p[n + 1], p[n + 2], p[n + 3], p[n + 4], p[n + 5], 0.335, 0.43)


@jit
def parts(x, y, z, p):
    """Distances at a camera-side point: skin of the head, neck, garment, hair, eyeballs, teeth, tongue, glasses."""
    tx, ty, tz = to_local(x, y, z, p, rig.TORSO)
    cloth = garment(tx, ty, tz, p) if ty < -0.9 else ty + 1.25  # far above the collar its height bounds the distance
    throat = neck(x, y, z, p)
    hx, hy, hz = to_local(x, y, z, p, rig.HEAD)
    bound = ball(hx, hy, hz, 1.55)
    if bound > 0.35:
        return bound, throat, cloth, bound, bound, bound, bound, bound
    skin = skin_of_head(hx, hy, hz, p)
    locks = hair(hx, hy, hz, p)
    eye = ball(abs(hx) - EYE_X, hy - EYE_Y, hz - EYE_Z, EYE_RADIUS)
    teeth, tongue = mouth_parts(hx, hy, hz, p)
    worn = glasses(hx, hy, hz) if p[rig.LOOK + looks.GLASSES] > 0.0 else FAR_OFF
    return skin, throat, cloth, locks, eye, teeth, tongue, worn


@jit
def scene(x, y, z, p):
    """Distance to the whole character at a camera-side point."""
    skin, throat, cloth, locks, eye, teeth, tongue, worn = parts(x, y, z, p)
    d = min(smooth_min(skin, throat, 0.16), cloth)
    return min(min(min(d, locks), worn), min(eye, min(teeth, tongue)))
