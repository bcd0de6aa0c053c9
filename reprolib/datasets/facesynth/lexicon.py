"""Words, their phonemes (ARPAbet, stress left out), and the visemes, which several phonemes can share."""

from __future__ import annotations

import difflib

from ...errors import UserError

_WORDS = """
a: ah | about: ah b aw t | again: ah g eh n | all: ao l | and: ae n d | are: aa r | at: ae t | away: ah w ey
back: b ae k | bad: b ae d | bag: b ae g | bake: b ey k | ban: b ae n | bark: b aa r k | bat: b ae t
bath: b ae th | be: b iy | beach: b iy ch | bear: b eh r | beat: b iy t | bed: b eh d | bell: b eh l
best: b eh s t | bin: b ih n | bit: b ih t | blue: b l uw | boat: b ow t | both: b ow th | boy: b oy
bright: b r ay t | buy: b ay | by: b ay | call: k ao l | can: k ae n | cap: k ae p | chair: ch eh r
chain: ch ey n | change: ch ey n jh | cheap: ch iy p | choose: ch uw z | coat: k ow t | cold: k ow l d
come: k ah m | day: d ey | dead: d eh d | deep: d iy p | do: d uw | door: d ao r | down: d aw n
eight: ey t | fan: f ae n | far: f aa r | fast: f ae s t | fat: f ae t | fear: f ih r | feel: f iy l
few: f y uw | fine: f ay n | five: f ay v | food: f uw d | four: f ao r | from: f r ah m | game: g ey m
give: g ih v | go: g ow | goat: g ow t | good: g uh d | great: g r ey t | green: g r iy n | had: hh ae d
hat: hh ae t | have: hh ae v | he: hh iy | head: hh eh d | home: hh ow m | hot: hh aa t | house: hh aw s
how: hh aw | i: ay | in: ih n | is: ih z | it: ih t | jeep: jh iy p | job: jh aa b | join: jh oy n
june: jh uw n | just: jh ah s t | keep: k iy p | kind: k ay n d | know: n ow | large: l aa r jh | lay: l ey
leaf: l iy f | leave: l iy v | less: l eh s | let: l eh t | life: l ay f | light: l ay t | like: l ay k
long: l ao ng | look: l uh k | make: m ey k | man: m ae n | many: m eh n iy | mark: m aa r k | mat: m ae t
may: m ey | me: m iy | meat: m iy t | men: m eh n | mile: m ay l | moat: m ow t | moon: m uw n
more: m ao r | most: m ow s t | my: m ay | name: n ey m | never: n eh v er | new: n uw | nine: n ay n
no: n ow | not: n aa t | now: n aw | of: ah v | old: ow l d | on: aa n | one: w ah n | open: ow p ah n
or: ao r | out: aw t | over: ow v er | pack: p ae k | pad: p ae d | pan: p ae n | park: p aa r k
pat: p ae t | path: p ae th | pay: p ey | peach: p iy ch | pear: p eh r | people: p iy p ah l | pet: p eh t
pie: p ay | pin: p ih n | pit: p ih t | place: p l ey s | please: p l iy z | pool: p uw l | price: p r ay s
prize: p r ay z | put: p uh t | rain: r ey n | read: r iy d | red: r eh d | right: r ay t | ring: r ih ng
rise: r ay z | room: r uw m | same: s ey m | say: s ey | sea: s iy | see: s iy | set: s eh t
seven: s eh v ah n | shape: sh ey p | share: sh eh r | she: sh iy | ship: sh ih p | shoes: sh uw z
show: sh ow | six: s ih k s | slow: s l ow | small: s m ao l | so: s ow | some: s ah m | soon: s uw n
sue: s uw | sun: s ah n | take: t ey k | tell: t eh l | ten: t eh n | than: dh ae n | the: dh ah
them: dh eh m | there: dh eh r | thin: th ih n | thing: th ih ng | think: th ih ng k | three: th r iy
time: t ay m | to: t uw | today: t ah d ey | town: t aw n | two: t uw | van: v ae n | vast: v ae s t
vat: v ae t | veal: v iy l | very: v eh r iy | view: v y uw | vine: v ay n | wait: w ey t | was: w ah z
water: w ao t er | way: w ey | we: w iy | weather: w eh dh er | well: w eh l | what: w ah t | when: w eh n
where: w eh r | white: w ay t | why: w ay | wine: w ay n | with: w ih dh | word: w er d | work: w er k
world: w er l d | year: y ih r | yes: y eh s | you: y uw | young: y ah ng | zero: z ih r ow | zoo: z uw
"""
LEXICON: dict[str, tuple[str, ...]] = {
    word.strip(): tuple(phonemes.split())
    for word, phonemes in (entry.split(":") for entry in _WORDS.replace("\n", "|").split("|") if entry.strip())
}

# Diphthongs are two mouth shapes. What is the same on the lips is the same here: /p b m/, /t d n s z/, /k g ng h/ …
_VISEMES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("p", "b", "m"), ("closed",)),
    **dict.fromkeys(("f", "v"), ("lip-teeth",)),
    **dict.fromkeys(("th", "dh"), ("tongue-teeth",)),
    **dict.fromkeys(("t", "d", "n", "s", "z"), ("alveolar",)),
    **dict.fromkeys(("sh", "ch", "jh", "zh"), ("postalveolar",)),
    **dict.fromkeys(("k", "g", "ng", "hh"), ("back",)),
    "l": ("lateral",),
    "r": ("rhotic",),
    "w": ("round glide",),
    **dict.fromkeys(("y", "iy", "ih"), ("spread",)),
    **dict.fromkeys(("eh", "ae"), ("half open",)),
    "aa": ("open",),
    **dict.fromkeys(("ah", "er"), ("middle",)),
    "ao": ("open round",),
    **dict.fromkeys(("uw", "uh"), ("round",)),
    "ey": ("half open", "spread"),
    "ay": ("open", "spread"),
    "oy": ("open round", "spread"),
    "ow": ("open round", "round"),
    "aw": ("open", "round"),
}


def viseme_classes(word: str) -> tuple[str, ...]:
    """The visemes of one word, in order; words that look alike have equal ones. UserError if it is not in LEXICON."""
    if word not in LEXICON:
        near = difflib.get_close_matches(word, LEXICON, n=3)
        hint = f"did you mean {' or '.join(near)}" if near else "use a word of facesynth.LEXICON"
        raise UserError(f"expected a word of the lexicon, found “{word}”: {hint}.")
    return tuple(viseme for phoneme in LEXICON[word] for viseme in _VISEMES[phoneme])
