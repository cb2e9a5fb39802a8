// Bahdanau's alignment by hand: which French word each English word attends to, e_ij = vᵀ tanh(W s_i + U h_j)
// (Bahdanau, Cho & Bengio 2015, A.1.2; the sentence is their figure 3).
//
// Each hidden unit stands for one meaning. It is active if the decoder asks for that meaning and the source word has it.
#include <clearhead/clearhead.h>

#include <cstdio>
#include <string>

namespace ch = clearhead;

int main() {
  const std::vector<std::string> english = {"the", "agreement", "on", "the", "European", "Economic", "Area"};
  const std::vector<std::string> french = {"l'", "accord", "sur", "la", "zone", "économique", "européenne"};
  const std::vector<int64_t> meaning = {0, 1, 2, 3, 6, 5, 4};  // for each English word, the French word with the same meaning
  const int64_t words = static_cast<int64_t>(french.size());

  // W s_i is 4 in the unit of the requested meaning. U h_j is −2 in the unit of the word's meaning and −6 elsewhere. Their sum is 2 only
  // where both agree.
  std::vector<float> asked(static_cast<size_t>(words * words), 0), meant(static_cast<size_t>(words * words), -6);
  for (int64_t i = 0; i < words; ++i) {
    asked[static_cast<size_t>(i * words + meaning[static_cast<size_t>(i)])] = 4;
    meant[static_cast<size_t>(i * words + i)] = -2;
  }
  const std::vector<float> v(static_cast<size_t>(words), 1.5F);
  const ch::Tensor q = ch::Tensor::from(asked, {1, 1, words, words}), k = ch::Tensor::from(meant, {1, 1, words, words});
  auto [context, record] = ch::attend(q, k, k, {.score = ch::Additive{.weight = ch::Tensor::from(v, {1, words})}});

  const ch::AttentionMap map(record);
  bool aligned = true;
  for (int64_t i = 0; i < words; ++i) {
    const std::vector<float> weights = map.head(0, 0).row(i).weights();
    std::string cells;
    for (const float weight : weights) cells += weight > 0.5F ? " #" : weight > 0.1F ? " +" : " .";
    const auto best = map.head(0, 0).row(i).top_k(1).front();
    std::printf("%10s %s  %s %.2f\n", english[static_cast<size_t>(i)].c_str(), cells.c_str(), french[static_cast<size_t>(best.key)].c_str(),
                static_cast<double>(best.weight));
    aligned = aligned && best.key == meaning[static_cast<size_t>(i)];
  }
  return aligned ? 0 : 1;
}
