"""The translator in this repository: the properties that its model card states."""

import unicodedata
from pathlib import Path

from support import Case, run

EN_FR = Path(__file__).resolve().parents[2] / "models/en-fr"

# Aligned by hand: sentences, and the French word (any of them, where it is written) that belongs to each English one. Adjectives that
# follow their nouns are marked with a *.
ALIGNED = """
The red car is in front of the house. | red*=rouge car=voiture house=maison
She has blue eyes. | blue*=bleus eyes=yeux
I bought a white horse. | white*=blanc horse=cheval
He wears a black hat. | black*=noir hat=chapeau
The cat is under the table. | cat=chat table=table
My father is a doctor. | father=père doctor=médecin/docteur
The water is cold. | water=eau cold=froide
I like green tea. | green*=vert tea=thé
The French language is difficult. | French*=française language=langue difficult=difficile
We saw a beautiful bird. | beautiful=bel/beau bird=oiseau
Tom opened the window. | Tom=Tom window=fenêtre
The dog drinks milk. | dog=chien milk=lait
Give me the red book. | red*=rouge book=livre
My sister lives in London. | sister=sœur London=Londres
The train arrived late. | train=train late=retard
Where is the new hospital? | new=nouvel hospital=hôpital
I ate an apple and a banana. | apple=pomme banana=banane
The old man is sleeping. | old=vieil/vieux
We need fresh air. | fresh*=frais air=air
The black cat sleeps on the bed. | black*=noir cat=chat bed=lit
He drank a glass of water. | glass=verre water=eau
The children are playing in the garden. | children=enfants garden=jardin
I lost my key. | key=clé/clef
My brother has a white dog. | brother=frère white*=blanc dog=chien
The door is open. | door=porte open=ouverte
She speaks English and Spanish. | English=anglais Spanish=espagnol
The teacher wrote a long letter. | teacher=professeur/enseignant/enseignante long=longue letter=lettre
It is a very interesting story. | interesting*=intéressante story=histoire
The river is dangerous. | river=rivière/fleuve dangerous=dangereuse/dangereux
The king lives in a big castle. | king=roi big=grand castle=château
I love Chinese food. | Chinese*=chinoise food=nourriture/cuisine
My mother bought a yellow dress. | mother=mère yellow*=jaune dress=robe
He has an American friend. | American*=américain/américaine friend=ami/amie
Three birds are singing in the tree. | Three=trois birds=oiseaux tree=arbre
The white house is near the river. | white*=blanche house=maison river=rivière
The European economic crisis is serious. | European*=européenne economic*=économique crisis=crise
"""


def plain(word):
    return unicodedata.normalize("NFC", word).lower().strip(".,?!«» ").split("'")[-1].split("’")[-1]


class EnFr(Case):
    def test_alignments_match_hand_aligned_words(self):
        sentences = [line.split(" | ") for line in ALIGNED.strip().splitlines()]
        done = run("run", "translate", EN_FR, "-", "--align", "--json", stdin="\n".join(english for english, _ in sentences).encode())
        self.assertEqual(done.code, 0, done.errors)
        met, right, turned_met, turned = 0, 0, 0, 0
        wrong = []
        for (_, pairs), made in zip(sentences, done.json["translations"], strict=True):
            source_of = {plain(pair["word"]): plain(pair["source"]) for pair in made["alignment"]}
            for pair in pairs.split():
                source, words = pair.split("=")
                for word in words.split("/"):
                    if word.lower() not in source_of:
                        continue
                    holds = source_of[word.lower()] == source.rstrip("*").lower()
                    met, right = met + 1, right + holds
                    if source.endswith("*"):
                        turned_met, turned = turned_met + 1, turned + holds
                    if not holds:
                        wrong.append(f"{word} ← {source_of[word.lower()]}: {made['text']}")
        told = f"{right} of {met} words, {turned} of {turned_met} adjectives after their nouns\n" + "\n".join(wrong)
        self.assertGreater(met, 55, told)
        self.assertGreater(right / met, 0.85, told)
        self.assertGreater(turned_met, 8, told)
        self.assertGreater(turned / turned_met, 0.75, told)

    def test_the_model_is_small_and_info_lists_its_task(self):
        told = self.ok("info", EN_FR, "--json").json
        self.assertLess(sum(path.stat().st_size for path in EN_FR.iterdir()), 12_000_000)
        self.assertIn("translate", told["tasks"])

    def test_rows_of_a_translation_are_named_by_the_words_that_they_wrote(self):
        def told(*arguments):
            done = run(*arguments, COLUMNS="80")
            self.assertEqual(done.code, 0, done.errors)
            return done

        text = "The red car is in front of the house."
        drawn = told("show", EN_FR, text, "--head", "L2.H3").out.splitlines()
        self.assertIn("voiture", [line.split()[0] for line in drawn if line.strip()])
        asked = told("ask", EN_FR, text, "--from", "rouge", "--to", "red", "--json").json
        self.assertEqual(asked["rows"], [asked["from"][0] - 1, asked["from"][1] - 1])
        self.assertGreater(asked["heads"][0]["mass"], 0.5)  # the row that wrote "rouge" looks at "red"
        self.assertIn("writing #", told("show", EN_FR, text, "--head", "L2.H3", "--query", "rouge").out)
