// Maps tokens to numbers that are equal if the tokens are the same, and compares the numbers.
#include "viewer/questions/alignment.h"

#include <algorithm>
#include <array>
#include <string>
#include <unordered_map>

namespace clearhead::viewer {
namespace {

constexpr int64_t kMostDifferences = 4000;

// Stores, for d = 0, 1, …, the furthest point (x, y) on each diagonal k = x − y that d differences reach.
class Differences {
 public:
  Differences(const int32_t* before, int64_t n, const int32_t* after, int64_t m) : before_(before), after_(after), n_(n), m_(m) {}

  // The number of differences; −1 if there are more than kMostDifferences.
  int64_t count() {
    for (int64_t d = 0; d <= kMostDifferences; ++d) {
      furthest_.emplace_back(static_cast<size_t>(d + 1), -1);
      for (int64_t k = -d; k <= d; k += 2) {
        int64_t x = step(d, k).x;
        if (x < 0) continue;
        while (x < n_ && x - k < m_ && before_[x] == after_[x - k]) ++x;
        furthest_[static_cast<size_t>(d)][static_cast<size_t>((k + d) / 2)] = static_cast<int32_t>(x);
        if (x == n_ && x - k == m_) return d;
      }
    }
    return -1;
  }

  // The matching pairs on a path with d differences, last first.
  std::vector<std::array<int64_t, 2>> matches(int64_t d) const {
    std::vector<std::array<int64_t, 2>> out;
    for (int64_t x = n_, y = m_; d >= 0; --d) {
      const Step taken = step(d, x - y);
      for (; x > taken.x; --x, --y) out.push_back({x - 1, y - 1});
      (taken.down ? y : x) -= 1;
    }
    return out;
  }

 private:
  struct Step {
    int64_t x = -1;  // after the d-th difference; −1: unreachable
    bool down = false;
  };
  Step step(int64_t d, int64_t k) const {
    if (d == 0) return {0, false};
    const int64_t above = reached(d - 1, k + 1), left = reached(d - 1, k - 1);
    Step out;
    if (above >= 0 && above - k <= m_) out = {above, true};
    if (left >= 0 && left + 1 <= n_ && left + 1 > out.x) out = {left + 1, false};
    return out;
  }
  int64_t reached(int64_t d, int64_t k) const {
    return k < -d || k > d ? -1 : furthest_[static_cast<size_t>(d)][static_cast<size_t>((k + d) / 2)];
  }

  const int32_t* before_;
  const int32_t* after_;
  int64_t n_, m_;
  std::vector<std::vector<int32_t>> furthest_;  // [d][(k + d) / 2]
};

void add(std::vector<Aligned>& pieces, const Aligned& piece) {
  if (piece.count == 0) return;
  const bool goes_on = !pieces.empty() && pieces.back().before + pieces.back().count == piece.before &&
                       pieces.back().after + pieces.back().count == piece.after;
  if (goes_on) {
    pieces.back().count += piece.count;
  } else {
    pieces.push_back(piece);
  }
}

// The content of an id, independent of its position: a token's text, or the name of a special token or item.
std::string spelling(const RunText& text, size_t id) {
  if (text.special[id]) return "s " + text.pieces[id];
  if (const ItemRange* items = text.items_of(static_cast<int64_t>(id))) return "i " + items->kind + " " + text.pieces[id];
  const auto [begin, end] = text.offsets[id];
  return "t " + text.text.substr(static_cast<size_t>(begin), static_cast<size_t>(end - begin));
}

using Numbers = std::unordered_map<std::string, int32_t>;

std::vector<int32_t> numbered(const RunText& text, Numbers& numbers) {
  std::vector<int32_t> out;
  for (size_t id = 0; id < text.ids.size(); ++id)
    out.push_back(numbers.emplace(spelling(text, id), static_cast<int32_t>(numbers.size())).first->second);
  return out;
}

// The characters of a token without whitespace at its ends; an empty range for ids that are not tokens.
std::array<int64_t, 2> characters(const RunText& text, size_t id) {
  auto [begin, end] = text.offsets[id];
  if (text.special[id] || text.items_of(static_cast<int64_t>(id))) return {0, 0};
  const auto blank = [&](int64_t at) {
    return std::string_view(" \t\n\r").find(text.text[static_cast<size_t>(at)]) != std::string_view::npos;
  };
  const std::array<int64_t, 2> all{begin, end};
  while (begin < end && blank(begin)) ++begin;
  while (begin < end && blank(end - 1)) --end;
  return begin < end ? std::array<int64_t, 2>{begin, end} : all;
}

// Aligns special tokens and items between two aligned ids: each with the next one of the same name.
void add_named(const RunText& before, const RunText& after, Range b, Range a, std::vector<Aligned>& pieces) {
  for (int64_t i = b.begin; i < b.end; ++i) {
    const std::string name = spelling(before, static_cast<size_t>(i));
    if (name[0] == 't') continue;
    for (int64_t j = a.begin; j < a.end; ++j) {
      if (name != spelling(after, static_cast<size_t>(j))) continue;
      add(pieces, {i, j, 1});
      a.begin = j + 1;
      break;
    }
  }
}

std::vector<Aligned> by_characters(const RunText& before, const RunText& after) {
  const size_t n = before.ids.size(), m = after.ids.size();
  std::vector<Aligned> pieces;
  int64_t last_i = 0, last_j = 0;
  for (size_t i = 0, j = 0; i < n && j < m;) {
    const auto b = characters(before, i), a = characters(after, j);
    if (b[1] <= b[0]) {
      ++i;
    } else if (a[1] <= a[0]) {
      ++j;
    } else if (b == a) {
      add_named(before, after, {last_i, static_cast<int64_t>(i)}, {last_j, static_cast<int64_t>(j)}, pieces);
      add(pieces, {static_cast<int64_t>(i), static_cast<int64_t>(j), 1});
      last_i = static_cast<int64_t>(++i);
      last_j = static_cast<int64_t>(++j);
    } else {
      (b < a ? i : j)++;
    }
  }
  add_named(before, after, {last_i, static_cast<int64_t>(n)}, {last_j, static_cast<int64_t>(m)}, pieces);
  return pieces;
}

}  // namespace

const char* to_string(Alignment::By by) {
  switch (by) {
    case Alignment::By::kSame: return "same";
    case Alignment::By::kOffsets: return "offsets";
    case Alignment::By::kTexts: return "texts";
  }
  return "same";
}

std::vector<Aligned> aligned(const std::vector<int32_t>& before, const std::vector<int32_t>& after, bool* is_whole) {
  const auto n = static_cast<int64_t>(before.size()), m = static_cast<int64_t>(after.size());
  int64_t head = 0, tail = 0;
  while (head < std::min(n, m) && before[static_cast<size_t>(head)] == after[static_cast<size_t>(head)]) ++head;
  while (tail < std::min(n, m) - head && before[static_cast<size_t>(n - 1 - tail)] == after[static_cast<size_t>(m - 1 - tail)]) ++tail;
  std::vector<Aligned> pieces;
  add(pieces, {0, 0, head});
  Differences between(before.data() + head, n - tail - head, after.data() + head, m - tail - head);
  const int64_t count = between.count();
  if (is_whole) *is_whole = count >= 0;
  const std::vector<std::array<int64_t, 2>> found = count < 0 ? std::vector<std::array<int64_t, 2>>() : between.matches(count);
  for (auto one = found.rbegin(); one != found.rend(); ++one) add(pieces, {head + (*one)[0], head + (*one)[1], 1});
  add(pieces, {n - tail, m - tail, tail});
  return pieces;
}

Alignment align(const RunText& before, const RunText& after) {
  Alignment out;
  Numbers numbers;
  const std::vector<int32_t> was = numbered(before, numbers), is = numbered(after, numbers);
  if (was == is) {
    add(out.pieces, {0, 0, static_cast<int64_t>(was.size())});
  } else if (before.text == after.text) {
    out.by = Alignment::By::kOffsets;
    out.pieces = by_characters(before, after);
  } else {
    out.by = Alignment::By::kTexts;
    out.pieces = aligned(was, is, &out.is_whole);
  }
  return out;
}

Places places_of(const std::vector<Aligned>& pieces, int64_t before, int64_t after) {
  Places out;
  int64_t i = 0, j = 0;
  const auto upto = [&](int64_t to_i, int64_t to_j) {
    for (; i < to_i; ++i) {
      out.before.push_back(static_cast<int32_t>(i));
      out.after.push_back(-1);
    }
    for (; j < to_j; ++j) {
      out.before.push_back(-1);
      out.after.push_back(static_cast<int32_t>(j));
    }
  };
  for (const Aligned& piece : pieces) {
    upto(piece.before, piece.after);
    for (int64_t at = 0; at < piece.count; ++at) {
      out.before.push_back(static_cast<int32_t>(i++));
      out.after.push_back(static_cast<int32_t>(j++));
    }
  }
  upto(before, after);
  return out;
}

}  // namespace clearhead::viewer
