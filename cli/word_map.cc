#include "cli/word_map.h"

#include <algorithm>
#include <cmath>

#include "base/format.h"
#include "cli/cli.h"

namespace clearhead::cli {
namespace {

using Cells = std::vector<std::vector<float>>;  // [row box][column box], NaN where hidden

// Weights between boxes: keys of one box add up, queries of one box are averaged.
Cells box_weights(const LayerMap& map, const std::vector<Box>& boxes, const std::vector<int64_t>& heads) {
  Cells out;
  for (const Box& query : boxes) {
    std::vector<float> row(boxes.size(), 0.0f);
    for (int64_t i = query.begin; i < query.end; ++i) {
      for (const int64_t head : heads) {
        const MapRow look = map.row(head, i);
        const float share = 1.0f / static_cast<float>((query.end - query.begin) * static_cast<int64_t>(heads.size()));
        for (size_t c = 0; c < boxes.size(); ++c) {
          bool hidden = true;
          for (int64_t j = boxes[c].begin; j < boxes[c].end; ++j) {
            const size_t key = static_cast<size_t>(j);
            hidden = hidden && std::isinf(look.scores()[key]);
            row[c] += look.weights()[key] * share;
          }
          if (hidden) row[c] = std::nanf("");
        }
      }
    }
    out.push_back(std::move(row));
  }
  return out;
}

// The first characters of a label, one string each.
std::vector<std::string> letters_of(const std::string& label, int count) {
  std::vector<std::string> out;
  std::string rest = visible(label);
  while (!rest.empty() && static_cast<int>(out.size()) < count) {
    size_t size = 1;
    while (size < rest.size() && (static_cast<unsigned char>(rest[size]) & 0xC0) == 0x80) ++size;
    out.push_back(rest.substr(0, size));
    rest.erase(0, size);
  }
  return out;
}

// Column names stand upright, the last letter nearest to the map.
void print_header(const std::vector<Box>& boxes, int label, int header, int cell) {
  std::vector<std::vector<std::string>> letters;
  for (const Box& box : boxes) letters.push_back(letters_of(box.label, header));
  for (int line = 0; line < header; ++line) {
    std::string text(static_cast<size_t>(label + 1), ' ');
    for (const auto& own : letters) {
      const int at = line - (header - static_cast<int>(own.size()));
      text += fit(at >= 0 ? own[static_cast<size_t>(at)] : "", cell, true);
    }
    print(text);
  }
}

std::string cell_text(const Terminal& terminal, float weight, float largest, int width) {
  if (std::isnan(weight)) return std::string(static_cast<size_t>(width), ' ');
  const std::string number = width >= 4 ? format("{:>3.0f} ", weight * 100) : std::string(static_cast<size_t>(width), ' ');
  if (terminal.colours != Colours::kNone) return shaded(terminal, number, shade(weight, largest));
  return width >= 4 ? number : fit(bar(shade(weight, largest)), width);
}

}  // namespace

double shade(float weight, float largest) { return largest > 0 && weight > 0 ? std::sqrt(static_cast<double>(weight / largest)) : 0; }

void print_words(const Terminal& terminal, const std::vector<Box>& boxes, const LayerMap& map, const std::vector<int64_t>& heads) {
  const Cells cells = box_weights(map, boxes, heads);
  int label = 4, header = 3;
  for (const Box& box : boxes) {
    label = std::clamp(display_width(visible(box.label)), label, 14);
    header = std::clamp(static_cast<int>(letters_of(box.label, 8).size()), header, 8);
  }
  const int cell =
      std::clamp(static_cast<int>((terminal.width - label - 2) / std::max<int64_t>(1, static_cast<int64_t>(boxes.size()))), 1, 4);
  float largest = 0;
  for (const auto& row : cells) {
    for (const float weight : row) largest = std::max(largest, std::isnan(weight) ? 0.0f : weight);
  }
  print_header(boxes, label, header, cell);
  for (size_t i = 0; i < boxes.size(); ++i) {
    std::string line = fit(visible(boxes[i].label), label, true) + " ";
    for (const float weight : cells[i]) line += cell_text(terminal, weight, largest, cell);
    print(line);
  }
  if (cell >= 4) print(fit("", label) + " in percent; rows attend to columns");
}

}  // namespace clearhead::cli
