"""Who speaks in the corpus: one row for each voice, with its package and its share of the minutes.

Formant voices (espeak-ng) are many but do not sound like people; recorded diphones, HTS and clustergen do, and
generalise to real speech far better. Mandarin exists in espeak-ng only, hence its large share there.
"""

from dataclasses import dataclass
from typing import Dict, Tuple

from models.phonemes import ARPABET, CATALAN, CZECH, INDIAN, JAPANESE, RUSSIAN, SAMPA


@dataclass(frozen=True)
class Voice:
    """One row of the table."""

    synthesizer: str
    name: str
    """The synthesizer's name of it; for espeak-ng: the language, and whether it is held out."""
    package: str
    """Of Debian 12; more than one where it does not depend on the rest."""
    language: str
    """Of its texts, a key of `texts.LANGUAGES`; "*" is any but English and Mandarin."""
    share: float
    """Parts of all the minutes, in percent."""
    phones: Dict[str, str]
    """Phone names -> IPA; espeak-ng names its phonemes in IPA."""
    encoding: str = "utf8"
    """Of the text that the voice reads."""
    vowels_late_s: float = 0.0
    """How long after the sound it announces a vowel behind a consonant, measured with `models.borders`."""


HELD_OUT_VARIANTS = ("belinda", "m7", "Marco")
"""espeak-ng's variants held out of training; they speak the rows named "held out"."""

VOICES: Tuple[Voice, ...] = (
    Voice("espeak", "Mandarin", "espeak-ng", "cmn", 15.5, {}),
    Voice("espeak", "English", "espeak-ng", "en", 11.0, {}),
    Voice("espeak", "others", "espeak-ng", "*", 13.0, {}),
    Voice("espeak", "Mandarin held out", "espeak-ng", "cmn", 3.0, {}),
    Voice("espeak", "English held out", "espeak-ng", "en", 1.5, {}),
    Voice("espeak", "others held out", "espeak-ng", "*", 1.0, {}),
    Voice("flite", "slt", "flite", "en", 5.0, ARPABET),
    Voice("flite", "rms", "flite", "en", 5.0, ARPABET),
    Voice("flite", "awb", "flite", "en", 5.0, ARPABET),
    Voice("flite", "kal16", "flite", "en", 2.5, ARPABET),
    Voice("festival", "voice_kal_diphone", "festvox-kallpc16k", "en", 3.5, ARPABET),
    Voice("festival", "voice_cmu_us_slt_arctic_hts", "festvox-us-slt-hts", "en", 3.0, ARPABET),
    Voice("festival", "voice_ked_diphone", "festvox-kdlpc16k", "en", 2.5, ARPABET),
    Voice("festival", "voice_lp_diphone", "festvox-italp16k", "it", 2.5, SAMPA, "ascii"),
    Voice("festival", "voice_pc_diphone", "festvox-itapc16k", "it", 2.5, SAMPA, "ascii"),
    Voice("festival", "voice_suo_fi_lj_diphone", "festvox-suopuhe-lj", "fi", 2.0, SAMPA, "iso-8859-1"),
    Voice("festival", "voice_hy_fi_mv_diphone", "festvox-suopuhe-mv", "fi", 2.0, SAMPA, "iso-8859-1"),
    Voice("festival", "voice_czech_dita", "festvox-czech-dita", "cs", 2.5, CZECH, "iso-8859-2"),
    Voice("festival", "voice_czech_machac", "festvox-czech-machac", "cs", 2.5, CZECH, "iso-8859-2"),
    Voice("festival", "voice_czech_krb", "festvox-czech-krb", "cs", 2.0, CZECH, "iso-8859-2"),
    Voice("festival", "voice_czech_ph", "festvox-czech-ph", "cs", 2.0, CZECH, "iso-8859-2"),
    Voice("festival", "voice_upc_ca_ona_hts", "festvox-ca-ona-hts", "ca", 3.0, CATALAN, "iso-8859-1"),
    Voice("festival", "voice_msu_ru_nsh_clunits", "festvox-ru", "ru", 2.5, RUSSIAN, vowels_late_s=0.018),
    Voice("festival", "voice_hindi_NSK_diphone", "festvox-hi-nsk festival-hi", "hi", 1.5, INDIAN),
    Voice("festival", "voice_telugu_NSK_diphone", "festvox-te-nsk festival-te", "te", 1.5, INDIAN),
    Voice("open_jtalk", "mei", "open-jtalk open-jtalk-mecab-naist-jdic", "ja", 2.0, JAPANESE),
)
