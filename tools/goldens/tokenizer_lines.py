"""The lines on which tokenizers are compared: sentences written for this purpose in some forty languages, and lines that a seeded generator
derives from them and from Unicode ranges: mixtures, odd white space, controls, marks, emoji with joiners, numbers, code, invalid UTF-8.

Every line is bytes. `lines()` always returns the same list.
"""
import random

SENTENCES = """
The cat sat on the mat, and nobody asked it to leave.
It's what we've said: they'll come, I'm sure, he'd better, you're right, don't you think?
IT'S SHOUTING AND THEY'LL HEAR; I'M NOT, WE'VE, YOU'RE, HE'D
In 1887, 3.14159 wasn't 22/7; 1,000,000 people paid $9.99 (or 8.50 EUR) at 12:45.
for (int i = 0; i < n; ++i) { sum += a[i] * b[i]; }  // dot product
https://example.org/a/b?c=d&e=%20f#g user.name+tag@example.com C:\\Users\\me
Le garçon naïf a mangé l'œuf où l'été commence ; ça, c'est déjà Noël !
Die Straße über den Fluß führt zur größten Höhle, sagte Jürgen „leise“.
El niño comió una piña en el balcón; ¿quién lo vio? ¡Nadie, señor!
O coração da avó não é de pão, mas de açúcar e maçã.
Perché la città è più bella così, di lunedì, lassù.
Zażółć gęślą jaźń, powiedział źrebak do łosia w Łodzi.
Příliš žluťoučký kůň úpěl ďábelské ódy u řeky.
Árvíztűrő tükörfúrógép áll a kertben, mondta Ödön.
İstanbul'da ılık bir ışık ve ISPARTA'nın gülleri, değil mi?
Bầu trời hôm nay rất đẹp và người bạn của tôi đang uống nước.
Þetta er ævintýri um hest og ís í Ísafirði.
Mėnulis šviečia ant žalio ąžuolo; ačiū, Jūrate.
Șarpele și țapul au mâncat în grădină.
Ο γρήγορος σκύλος τρέχει στον δρόμο· ΤΙ ΚΑΝΕΙΣ ΣΗΜΕΡΑ;
Ἐν ἀρχῇ ἦν ὁ λόγος, καὶ ὁ λόγος ἦν πρὸς τὸν θεόν.
Кошка сидит на ковре, а ёжик идёт домой. Съешь ещё пирожок!
Їжак із ґанку їсть яблуко; Євген п'є чай.
Брза лисица прескаче поток, а Љиља и Џон ћуте.
Мысық кілемде отыр, қасқыр тауда ұлиды.
القطة جالسة على السجادة، والولد يقرأ كتابًا جديدًا؟
بِسْمِ اللَّهِ الرَّحْمَٰنِ الرَّحِيمِ
گربه روی فرش نشسته است و می‌خواهد بخوابد؛ ۱۲۳۴۵.
بلی قالین پر بیٹھی ہے۔
החתול יושב על השטיח, והילד קורא ספר.
בְּרֵאשִׁית בָּרָא אֱלֹהִים אֵת הַשָּׁמַיִם
बिल्ली चटाई पर बैठी है। आज मौसम अच्छा है, क्षत्रिय ज्ञानी १२३४।
মাংস নয়, বিড়ালটি মাদুরের উপর বসে আছে। আমি বাংলায় কথা বলি।
ਬਿੱਲੀ ਚਟਾਈ ਤੇ ਬੈਠੀ ਹੈ।
બિલાડી સાદડી પર બેઠી છે.
பூனை பாயில் அமர்ந்திருக்கிறது. வணக்கம், நண்பரே!
పిల్లి చాప మీద కూర్చుంది. నమస్కారం!
ಬೆಕ್ಕು ಚಾಪೆಯ ಮೇಲೆ ಕುಳಿತಿದೆ.
പൂച്ച പായയിൽ ഇരിക്കുന്നു.
පූසා පැදුරේ වාඩි වී සිටී.
แมวนั่งอยู่บนเสื่อ วันนี้อากาศดีมาก ๑๒๓
ແມວນັ່ງຢູ່ເທິງເສື່ອ.
ဒီကြောင်က ဖျာပေါ်မှာ ထိုင်နေတယ်။
ឆ្មាអង្គុយលើកន្ទេល។
བྱི་ལ་གདན་སྟེང་དུ་བསྡད་འདུག
კატა ზის ხალიჩაზე, ᲗᲑᲘᲚᲘᲡᲘ.
Կատուն նստած է գորգի վրա։ ԵՐԵՎԱՆ և Գյումրի
ድመቷ ምንጣፉ ላይ ተቀምጣለች።
ᏣᎳᎩ ᎦᏬᏂᎯᏍᏗ ꭳꮿ
ᠮᠣᠩᠭᠣᠯ ᠬᠡᠯᠡ
猫坐在垫子上，没有人让它离开。
今天天气很好，我们去公园散步吧！价格是３５元（打折）。
話說天下大勢，分久必合，合久必分。
學而時習之，不亦說乎？有朋自遠方來，不亦樂乎？
𠀀𠮷野家的牛肉飯，㐂㐄，豈更車。
猫がマットの上に座っています。ｶﾀｶﾅもあるよ、ガギグゲゴ。
東京タワーは１９５８年に建てられた塔で、高さは333メートルです。
고양이가 매트 위에 앉아 있다. 오늘 날씨가 참 좋네요!
한국어 가나다라
👩‍👩‍👧‍👦 family, 👍🏽 thumbs, 🇫🇷🇯🇵 flags, 1️⃣ keycap, ❤️‍🔥 heart, 🏴‍☠️ pirate
🧑🏿‍🚀 went to the 🌕 and said “hello, 🌍!” 😀😃😄😁
ﬁne ﬂour, Ⅷ ½ ㎏ ﷺ ｆｕｌｌ ① ㍿ ㌀ x² H₂O ™ …
Å Å Å ḍ̇ ḍ̇ q̣̇ e\u0301\u0323 e\u0323\u0301 ọ̈ ǖ ộ ᾳ ΐ
𝐁𝐨𝐥𝐝 𝒊𝒕𝒂𝒍𝒊𝒄 𝕯𝖔𝖚𝖇𝖑𝖊 𝟘𝟙𝟚 𐐔𐐯𐑅𐐨𐑉𐐯𐐻 𞤀𞤣𞤤𞤢𞤥 𝄞
– — ‘single’ “double” «guillemets» ‹x› … · • † ‡ § ¶ № ¿ ¡ ‰
± × ÷ ≤ ≥ ≠ ∑ ∫ √ ∞ α∈A, ∀x∃y → ⇒ ∅ ℝ
₹ € £ ¥ ₿ ¢ ₩ ^ ` ~ | \\ / @ # $ % & * ( ) _ + - = [ ] { } < >
don't 'tis o'clock rock 'n' roll '90s ''quoted'' 's 't 're 'x
don’t it’s we’ve l’été
a do not b, I do not know . Really ? Yes ! He 's n't 'm
[CLS] is a token, [SEP] too, and [MASK] [UNK] [PAD] <s> </s> <mask> <|endoftext|> <|begin_of_text|>
hello<|endoftext|>world  <|endoftext|>  again<mask> and  <mask>  x [MASK]y z[MASK]
snake_case camelCase kebab-case SCREAMING_CASE dunder__name__ x1y2z3 0xDEADBEEF 1e-5
""".replace("\\u0301", "\u0301").replace("\\u0323", "\u0323").strip("\n").split("\n")

ODDITIES = [
    "", " ", "  ", "   x", "x   ", " x  y   z ", "\t", "\n", "\r\n", "a\tb\nc\r\nd", "\n\n\na", "a \n b\n \nc", "  \n  \n", "\r\r\n\n x",
    "a\u00a0b\u2003c\u3000d\u2028e\u2029f\u0085g\u200bh\ufeffi", "\ufeffstart", "\u200e\u200fmarks\u202a\u202e\u2066",
    "x\u00adsoft\u00adhyphen",
    "\x00", "a\x00b", "\x01\x02\x03 bell\x07 esc\x1b[0m del\x7f", "c1 \x80\x9f\x85 end", "\x0b\x0c vertical", "\u180e\u1680\u205f\u2060",
    "\ufffd", "a\ufffdb\ufffd", "\ue000private\uf8ff\U000f0000", "\ufdd0\uffff\U0010ffff", "\u0301", "\u0301a", " \u0301",
    "a\u0300\u0301\u0302\u0303\u0304",
    "\u0344\u0340\u0341\u0343", "\u1100\u1161\u11a8", "\uac00\u11a8", "\u0958\u09dc\u0f43", "\u2126\u212a\u212b", "\ufb1d\ufb2c\ufb06st",
    "I\u0307\u0130\u0131\u017f\u1e9e\u00df\u03a3\u03c3\u03c2", "'\u017f '\u017ft IT'\u017f", "\u01c4\u01c5\u01c6\u01f1\u01f2",
    "\u0660\u0967\u0e51\uff11\u2160\u2460\u00bd\u3007",
    "\u2024\u2025\u2026\u203c\u2049", "\u061d\u166d\U000111c9\u2e52", "\u0897\u1c89\ua7cb\U00010d50\U0001e5d0\U0002ebf0",
    "\u1734\u1715\u1cf2\u08ca\u1ac1",
    "\ufe0f\u20e3", "\U0001f468\u200d\U0001f469\u200d", "\U000e0067\U000e0062\U000e007f", "a" * 99, "b" * 100, "c" * 101, "é" * 100,
    "é" * 101, "猫" * 20,
    "ab" * 60, "\u00e9" * 40 + "x", "!" * 70, "?!" * 20, "1" * 50, "12345678901234567890", "1 22 333 4444 55555", "－１２３",
    "x" + " " * 40 + "y",
    "\n" * 10, " \n" * 8, "aA" * 30, "\u0e33\u0eb3\u0e01\u0e33", "\U0001d15e\U0001d1bb", "\u1fee\u1ffd\u2000\u2001\u3008",
    "\u0374\u037e\u0387\u1fef",
]

INVALID = [
    b"\xff", b"a\xffb", b"\xc3", b"caf\xc3", b"caf\xc3 au lait", b"\xe2\x82", b"\xe2\x82x", b"\xe2\x28\xa1", b"\xf0\x9f\x98",
    b"ok \xf0\x9f\x98 ok", b"\xf0\x9f\x98\xf0\x9f\x98\x80", b"\xc0\xaf", b"\xc1\xbf", b"\xe0\x80\xaf", b"\xe0\x9f\xbf", b"\xed\xa0\x80",
    b"\xed\xbf\xbf\xed\xb0\x80",
    b"\xf4\x90\x80\x80", b"\xf5\x80\x80\x80", b"\xf8\x88\x80\x80\x80", b"\x80", b"\xbf\xbf\xbf", b"\xfe\xff", b"x\x80y\x80\x80z",
    b"\xe4\xb8\xad\xe6\x96",
    b"\xe6\x96\xe4\xb8\xad", b"\xf0\x90\x28\xbc", b"\xf1\x80\x80\xe1\x80\xc2", b"  \xff  ", b"word\xffword word \xfe\xfe.",
    b"\xc3\xa9\xa9\xc3",
]

# (first, last) of ranges that random code points are drawn from.
RANGES = [
    (0x20, 0x7E), (0xA0, 0x17F), (0x180, 0x24F), (0x250, 0x2FF), (0x300, 0x36F), (0x370, 0x3FF), (0x400, 0x52F), (0x530, 0x58F),
    (0x590, 0x5F4),
    (0x600, 0x6FF), (0x700, 0x7BF), (0x900, 0x97F), (0x980, 0x9FE), (0xA00, 0xAFF), (0xB00, 0xBFF), (0xC00, 0xCFF), (0xD00, 0xDFF),
    (0xE00, 0xEFF),
    (0xF00, 0xFFF), (0x1000, 0x109F), (0x10A0, 0x10FF), (0x1100, 0x11FF), (0x1200, 0x139F), (0x13A0, 0x13FF), (0x1780, 0x17FF),
    (0x1800, 0x18AF),
    (0x1E00, 0x1EFF), (0x1F00, 0x1FFF), (0x2000, 0x206F), (0x2070, 0x209F), (0x20A0, 0x20CF), (0x2100, 0x218F), (0x2190, 0x22FF),
    (0x2460, 0x24FF),
    (0x2600, 0x27BF), (0x2E00, 0x2E4F), (0x3000, 0x303F), (0x3040, 0x30FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xA640, 0xA69F),
    (0xAC00, 0xD7A3),
    (0xF900, 0xFAFF), (0xFB00, 0xFDFF), (0xFE00, 0xFE6F), (0xFF00, 0xFFEF), (0x10000, 0x1018F), (0x10400, 0x1044F), (0x10900, 0x1093F),
    (0x11000, 0x1107F), (0x1D100, 0x1D1FF), (0x1D400, 0x1D7FF), (0x1E900, 0x1E95F), (0x1F300, 0x1F64F), (0x1F680, 0x1F9FF),
    (0x20000, 0x2A6DF), (0x2F800, 0x2FA1D), (0xE0100, 0xE01EF),
]

JOINTS = [" ", " ", " ", "  ", "", "", "-", ", ", "\n", "\t", "\u00a0", "\u3000", "\u200d", " \n", "...", "'", "’s "]


def random_text(rng, length):
    first, last = rng.choice(RANGES)
    return "".join(chr(rng.randint(first, last)) for _ in range(length))


def mixture(rng, words):
    parts = []
    for _ in range(rng.randint(2, 7)):
        parts += [rng.choice(words), rng.choice(JOINTS)]
    return "".join(parts)


def spoiled(rng, text):
    data = bytearray(text.encode())
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(data) + 1)
        if rng.random() < 0.5 and at < len(data):
            del data[at]
        else:
            data[at:at] = bytes([rng.randint(0x80, 0xFF)])
    return bytes(data)


def lines():
    rng = random.Random(20240607)
    out = [s.encode() for s in SENTENCES] + [s.encode() for s in ODDITIES] + list(INVALID)
    words = [w for s in SENTENCES for w in s.split(" ") if w]
    for s in SENTENCES:  # beginnings and ends, so that context varies
        cut = rng.randint(1, len(s))
        out += [s[:cut].encode(), s[cut:].upper().encode(), (" " + s[:cut].title()).encode()]
    while len(out) < 1100:
        out.append(mixture(rng, words).encode())
    while len(out) < 1600:
        out.append(random_text(rng, rng.randint(1, 14)).encode())
    while len(out) < 1900:
        mixed = [rng.choice(words), random_text(rng, rng.randint(1, 3)), chr(rng.choice([0x301, 0x323, 0x200D, 0x20, 0xA, 0xFE0F, 0x300]))]
        rng.shuffle(mixed)
        out.append("".join(mixed * rng.randint(1, 2)).encode())
    while len(out) < 2100:
        out.append(spoiled(rng, mixture(rng, words)))
    while len(out) < 2200:
        kinds = ["a", "Z", "9", "١", "é", "字", " ", " ", "\n", "\t", "\r", "'", "'s", "'LL", ".", "!", "😀", "\u00a0"]
        out.append("".join(rng.choice(kinds) for _ in range(rng.randint(3, 18))).encode())
    return out
