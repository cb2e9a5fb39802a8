// Recomputes rows of both maps and pools their differences: rows that are consecutive in both texts as tiles of single weights, other
// rows one by one.
#include "viewer/questions/compare.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>

#include "base/format.h"
#include "base/parallel.h"
#include "explain/evaluate/agreement.h"
#include "viewer/questions/head.h"
#include "viewer/questions/mean.h"
#include "viewer/questions/ranges.h"

namespace clearhead::viewer::questions {
namespace {

constexpr int64_t kSide = 256;        // maximum cells per side of a picture
constexpr int64_t kBlock = 32;        // rows recomputed at once: 13 MB per map for 100,000 keys
constexpr int64_t kShortRun = 8;      // shorter runs of consecutive rows are recomputed one by one
constexpr double kInOneOnly = -1;     // value of a cell that only one of the texts has
constexpr int64_t kFirstRows = 8;     // rows for the first answer of a ranking that takes long
constexpr int64_t kRankedRows = 64;   // minimum rows for its final answer
constexpr double kPairWork = 60;      // cost of exp, two logarithms and memory accesses per pair, in multiply-adds
constexpr double kInstantWork = 3e9;  // below this no sampled answer is sent first: 0.1 s on two cores
constexpr double kLongWork = 3e10;    // above this the full computation needs `exact`: some seconds
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// One of the two compared maps: of one head, or the mean of several.
struct Side {
  struct Head {
    LayerMap map;
    int64_t head = 0;
  };
  const FamilyFacts& known;
  std::vector<Head> heads{};

  double row_work() const {
    return static_cast<double>(heads.size()) * static_cast<double>(known.keys) * (static_cast<double>(known.shape.d_k) + kPairWork);
  }
  bool has_row(int64_t query) const {
    return std::all_of(heads.begin(), heads.end(), [&](const Head& one) { return one.map.has_row(query); });
  }
  bool whole() const {
    return std::all_of(heads.begin(), heads.end(), [](const Head& one) { return one.map.whole(); });
  }
  // The weights of a row over all keys; NaN if a pair is hidden or was never scored. [keys]
  std::vector<float> row(int64_t query) const {
    return mean([&](const Head& one) {
      const MapRow found = one.map.row(one.head, query);
      std::vector<float> out = found.weights();
      for (size_t key = 0; key < out.size(); ++key) {
        if (!std::isfinite(found.scores()[key])) out[key] = std::numeric_limits<float>::quiet_NaN();
      }
      return out;
    });
  }
  // The same for rows [begin, begin + count) of maps that are whole. [count, keys]
  std::vector<float> rows(int64_t begin, int64_t count, const LookOptions& options) const {
    return mean([&](const Head& one) {
      const TileRequest request{.queries = {begin, begin + count}, .keys = {0, known.keys}};
      const Tile tile = one.map.tile(one.head, request, {.cancel = options.cancel});
      return std::vector<float>(tile.max.data<float>(), tile.max.data<float>() + tile.max.numel());
    });
  }

 private:
  template <class WeightsOf>
  std::vector<float> mean(const WeightsOf& weights_of) const {
    HeadMean out;
    for (const Head& one : heads) out.add(weights_of(one));
    return out.result();
  }
};

Side side_of(LoadedTrace& loaded, const ComparedHead& at) {
  const FamilyFacts& known = loaded.facts(at.family);
  Side out{known};
  for (const HeadLook& head : heads_of(loaded, {.family = at.family, .layer = at.layer, .head = at.head})) {
    out.heads.push_back({loaded.trace().map(known.shape.name, head.layer), head.head});
  }
  return out;
}

struct Pair {
  int64_t before = 0, after = 0, cell = 0;
};

// The ids that both maps have as keys.
struct SharedKeys {
  std::vector<int64_t> before{}, after{};

  SharedKeys(const std::vector<Aligned>& pieces, int64_t keys_before, int64_t keys_after) {
    for (const Aligned& piece : pieces) {
      for (int64_t i = 0; i < piece.count; ++i) {
        if (piece.before + i >= keys_before || piece.after + i >= keys_after) break;
        before.push_back(piece.before + i);
        after.push_back(piece.after + i);
      }
    }
  }

  // NaN if a row is not a distribution.
  double divergence(std::span<const float> was, std::span<const float> is) const {
    const std::vector<double> p = explain::shared_row(was, before), q = explain::shared_row(is, after);
    return p.empty() || q.empty() ? kNaN : explain::jensen_shannon(p, q);
  }
};

// Replaces the NaN of hidden pairs by weight 0.
std::vector<float> filled(std::span<const float> row) {
  std::vector<float> out(row.begin(), row.end());
  for (float& weight : out) weight = std::isnan(weight) ? 0 : weight;
  return out;
}

std::vector<Pair> spread(const std::vector<Pair>& all, int64_t most) {
  const auto count = static_cast<int64_t>(all.size());
  if (most <= 0 || count <= most) return all;
  std::vector<Pair> out;
  for (int64_t i = 0; i < most; ++i) out.push_back(all[static_cast<size_t>((2 * i + 1) * count / (2 * most))]);
  return out;
}

void check_cancelled(const LookOptions& options) {
  if (options.cancel && options.cancel->load(std::memory_order_relaxed)) fail(ErrorCode::kCancelled, "compare: cancelled");
}

// Within one trace, rows and columns of both maps must be the same tokens.
void check_sides(const LoadedTrace& before, const LoadedTrace& after, const FamilyFacts& was, const FamilyFacts& is) {
  if (&before != &after) return;
  const auto same = [](Range a, Range b) { return a.begin == b.begin && a.end == b.end; };
  if (same(was.query_range(), is.query_range()) && same(was.key_range(), is.key_range())) return;
  fail(ErrorCode::kInvalidArgument,
       "compare: the maps of \"{}\" and \"{}\" have different queries or keys; expected two heads whose rows and columns are the same "
       "tokens.",
       was.shape.name, is.shape.name);
}

// Two maps on the merged positions of both texts, and the cells of the picture.
class Comparison {
 public:
  Comparison(LoadedTrace& before, LoadedTrace& after, const CompareLook& look)
      : was_(side_of(before, look.before)),
        is_(side_of(after, look.after)),
        alignment_(align(before.trace().plan().text, after.trace().plan().text)),
        places_(places_of(alignment_.pieces, static_cast<int64_t>(before.trace().plan().text.ids.size()),
                          static_cast<int64_t>(after.trace().plan().text.ids.size()))),
        shared_(alignment_.pieces, was_.known.keys, is_.known.keys) {
    check_sides(before, after, was_.known, is_.known);
    rows_ = range(look.rows, was_.known.query_range(), is_.known.query_range(), "rows");
    columns_ = range(look.columns, was_.known.key_range(), is_.known.key_range(), "columns");
    while (std::max(rows_.size(), columns_.size()) > kSide << z_) ++z_;
    for (int64_t place = rows_.begin; place < rows_.end; ++place) add_row(place);
    for (int64_t place = columns_.begin; place < columns_.end; ++place) {
      const int64_t b = places_.before[static_cast<size_t>(place)], a = places_.after[static_cast<size_t>(place)];
      if (b >= 0 && a >= 0 && b < was_.known.keys && a < is_.known.keys) in_columns_.push_back({b, a, (place - columns_.begin) >> z_});
    }
  }

  double work() const { return static_cast<double>(in_rows_.size()) * (was_.row_work() + is_.row_work()); }
  int64_t rows() const { return static_cast<int64_t>(in_rows_.size()); }
  bool is_all(int64_t most) const { return (int64_t{1} << z_) <= most; }  // whether this many rows are all rows of a cell

  // `most`: maximum number of rows used for each cell; 0: all.
  ViewFrame picture(int64_t most, const LookOptions& options) const {
    std::vector<Pair> wanted;
    for (size_t begin = 0, end = 0; begin < in_rows_.size(); begin = end) {
      while (end < in_rows_.size() && in_rows_[end].cell == in_rows_[begin].cell) ++end;
      const std::vector<Pair> cell(in_rows_.begin() + static_cast<std::ptrdiff_t>(begin),
                                   in_rows_.begin() + static_cast<std::ptrdiff_t>(end));
      for (const Pair& pair : spread(cell, most)) wanted.push_back(pair);
    }
    Sums sums(height(), width());
    for (size_t begin = 0, end = 0; begin < wanted.size(); begin = end) {
      check_cancelled(options);
      end = block_end(wanted, begin);
      add_block({wanted.data() + begin, end - begin}, sums, options);
      if (options.progress) options.progress(static_cast<double>(end) / static_cast<double>(wanted.size()));
    }
    return frame_of(sums, static_cast<int64_t>(wanted.size()));
  }

 private:
  struct Sums {
    int64_t columns;
    std::vector<double> before, after, divergence;                // [rows, columns] twice, [rows]
    std::vector<int64_t> seen_before, seen_after, seen, counted;  // [rows, columns] three times, [rows]
    Sums(int64_t rows, int64_t across)
        : columns(across),
          before(static_cast<size_t>(rows * across)),
          after(before.size()),
          divergence(static_cast<size_t>(rows)),
          seen_before(before.size()),
          seen_after(before.size()),
          seen(before.size()),
          counted(static_cast<size_t>(rows)) {}
  };

  int64_t height() const { return (rows_.size() + (int64_t{1} << z_) - 1) >> z_; }
  int64_t width() const { return (columns_.size() + (int64_t{1} << z_) - 1) >> z_; }

  // The requested positions; by default from the first to the last position that either map has.
  Range range(const std::optional<Range>& asked, Range was, Range is, const char* name) const {
    if (asked) {
      check_ranges({*asked}, places_.size(), name);
      return *asked;
    }
    const auto has = [](Range ids, int32_t id) { return id >= ids.begin && id < ids.end; };
    Range out{places_.size(), 0};
    for (int64_t place = 0; place < places_.size(); ++place) {
      if (!has(was, places_.before[static_cast<size_t>(place)]) && !has(is, places_.after[static_cast<size_t>(place)])) continue;
      out.begin = std::min(out.begin, place);
      out.end = place + 1;
    }
    if (out.size() <= 0) fail(ErrorCode::kNotFound, "compare: the maps have no {}.", name);
    return out;
  }

  void add_row(int64_t place) {
    const int64_t b = places_.before[static_cast<size_t>(place)], a = places_.after[static_cast<size_t>(place)];
    if (b >= 0 && a >= 0 && was_.has_row(b) && is_.has_row(a)) in_rows_.push_back({b, a, (place - rows_.begin) >> z_});
  }

  // The end of a block of up to kBlock rows. A run of consecutive rows that is long enough for a tile gets its own block.
  static size_t block_end(const std::vector<Pair>& rows, size_t begin) {
    size_t end = begin + 1;
    bool is_run = true;
    for (; end < rows.size() && end - begin < static_cast<size_t>(kBlock); ++end) {
      const bool goes_on = follows(rows[end], rows[end - 1]);
      if (is_run && !goes_on && end - begin >= static_cast<size_t>(kShortRun)) break;
      is_run = is_run && goes_on;
    }
    return end;
  }
  static bool follows(const Pair& pair, const Pair& last) { return pair.before == last.before + 1 && pair.after == last.after + 1; }

  void add_block(std::span<const Pair> block, Sums& sums, const LookOptions& options) const {
    const auto count = static_cast<int64_t>(block.size());
    bool is_run = count >= kShortRun && was_.whole() && is_.whole();
    for (size_t r = 1; r < block.size(); ++r) is_run = is_run && follows(block[r], block[r - 1]);
    std::vector<float> all_was, all_is;
    if (is_run) {
      all_was = was_.rows(block[0].before, count, options);
      all_is = is_.rows(block[0].after, count, options);
    }
    std::vector<std::vector<float>> was(block.size()), is(block.size());
    std::vector<double> found(block.size());
    parallel_for(count, [&](int64_t r, int) {
      const auto at = static_cast<size_t>(r);
      const auto part = [&](const std::vector<float>& all, int64_t keys) {
        return std::vector<float>(all.data() + r * keys, all.data() + (r + 1) * keys);
      };
      was[at] = is_run ? part(all_was, was_.known.keys) : was_.row(block[at].before);
      is[at] = is_run ? part(all_is, is_.known.keys) : is_.row(block[at].after);
      found[at] = shared_.divergence(filled(was[at]), filled(is[at]));
    });
    for (size_t r = 0; r < block.size(); ++r) {
      add_cells(was[r].data(), is[r].data(), static_cast<size_t>(block[r].cell * sums.columns), sums);
      if (std::isnan(found[r])) continue;
      sums.divergence[static_cast<size_t>(block[r].cell)] += found[r];
      ++sums.counted[static_cast<size_t>(block[r].cell)];
    }
  }

  void add_cells(const float* was, const float* is, size_t row, Sums& sums) const {
    for (const Pair& column : in_columns_) {
      const float p = was[column.before], q = is[column.after];
      const bool in_was = !std::isnan(p), in_is = !std::isnan(q);
      if (!in_was && !in_is) continue;
      const size_t at = row + static_cast<size_t>(column.cell);
      ++sums.seen[at];
      sums.seen_before[at] += in_was;
      sums.seen_after[at] += in_is;
      sums.before[at] += in_was ? static_cast<double>(p) : 0.0;
      sums.after[at] += in_is ? static_cast<double>(q) : 0.0;
    }
  }

  ViewFrame frame_of(const Sums& sums, int64_t looked_at) const {
    const std::vector<char> row_shared = shared_cells(rows_, height()), column_shared = shared_cells(columns_, width());
    std::vector<float> before(sums.before.size()), after(before.size()), divergence(sums.divergence.size());
    double total = 0;
    int64_t counted = 0;
    for (size_t r = 0; r < divergence.size(); ++r) {
      total += sums.divergence[r];
      counted += sums.counted[r];
      divergence[r] = static_cast<float>(sums.counted[r] > 0 ? sums.divergence[r] / static_cast<double>(sums.counted[r]) : kNaN);
      for (size_t c = 0; c < static_cast<size_t>(sums.columns); ++c) {
        const size_t at = r * static_cast<size_t>(sums.columns) + c;
        const double none = row_shared[r] && column_shared[c] ? kNaN : kInOneOnly, seen = static_cast<double>(sums.seen[at]);
        before[at] = static_cast<float>(sums.seen_before[at] > 0 ? sums.before[at] / seen : none);
        after[at] = static_cast<float>(sums.seen_after[at] > 0 ? sums.after[at] / seen : none);
      }
    }
    const bool is_exact = looked_at == rows();
    ViewFrame frame;
    frame.header = Json::object({{"event", "picture"},
                                 {"badge", is_exact ? "exact" : "sampled"},
                                 {"sampled_rows", is_exact ? Json() : Json(looked_at)},
                                 {"z", z_},
                                 {"row_places", range_json(rows_)},
                                 {"column_places", range_json(columns_)},
                                 {"rows", looked_at},
                                 {"of", rows()},
                                 {"mean", counted > 0 ? Json(total / static_cast<double>(counted)) : Json()}});
    frame.add("before", before, {height(), width()});
    frame.add("after", after, {height(), width()});
    frame.add("divergence", divergence, {height()});
    return frame;
  }

  // Returns for each cell whether it contains a position that both texts have.
  std::vector<char> shared_cells(Range places, int64_t cells) const {
    std::vector<char> out(static_cast<size_t>(cells));
    for (int64_t place = places.begin; place < places.end; ++place) {
      if (places_.before[static_cast<size_t>(place)] >= 0 && places_.after[static_cast<size_t>(place)] >= 0)
        out[static_cast<size_t>((place - places.begin) >> z_)] = 1;
    }
    return out;
  }

  Side was_, is_;
  Alignment alignment_;
  Places places_;
  SharedKeys shared_;
  Range rows_{}, columns_{};
  int z_ = 0;
  std::vector<Pair> in_rows_, in_columns_;  // rows and columns that both maps have
};

std::vector<Pair> rows_of_both(const std::vector<Aligned>& pieces, Range was, Range is) {
  std::vector<Pair> out;
  for (const Aligned& piece : pieces) {
    for (int64_t i = 0; i < piece.count; ++i) {
      const int64_t b = piece.before + i, a = piece.after + i;
      if (b >= was.begin && b < was.end && a >= is.begin && a < is.end) out.push_back({b, a, 0});
    }
  }
  return out;
}

bool is_kept(const FamilyFacts& known, int layer) { return std::count(known.layers.begin(), known.layers.end(), layer) > 0; }

// The rows by which every head is ranked, and the mean divergence of a head over them.
struct Ranking {
  const FamilyFacts &was, &is;
  SharedKeys shared;
  std::vector<Pair> rows{};

  Ranking(LoadedTrace& before, LoadedTrace& after, const std::string& was_family, const std::string& is_family,
          const std::vector<Aligned>& pieces)
      : was(before.facts(was_family)),
        is(after.facts(is_family)),
        shared(pieces, was.keys, is.keys),
        rows(rows_of_both(pieces, was.query_range(), is.query_range())) {}

  double work(int64_t count) const {
    const double row = static_cast<double>(was.keys + is.keys) * (static_cast<double>(is.shape.d_k) + kPairWork);
    return static_cast<double>(count * is.shape.heads) * static_cast<double>(is.layers.size()) * row;
  }

  double mean(const Side& one, const Side& other, const std::vector<Pair>& of) const {
    std::vector<double> found(of.size(), kNaN);
    parallel_for(static_cast<int64_t>(of.size()), [&](int64_t i, int) {
      const Pair& pair = of[static_cast<size_t>(i)];
      if (!one.has_row(pair.before) || !other.has_row(pair.after)) return;
      found[static_cast<size_t>(i)] = shared.divergence(filled(one.row(pair.before)), filled(other.row(pair.after)));
    });
    double sum = 0, count = 0;
    for (const double one_row : found) {
      if (std::isnan(one_row)) continue;
      sum += one_row;
      ++count;
    }
    return count > 0 ? sum / count : kNaN;
  }
};

// `fixed`: every head is compared with this one; null: with the head of the same index.
HeadDivergences ranked(LoadedTrace& before, LoadedTrace& after, const Ranking& ranking, const ComparedHead* fixed, int64_t most,
                       const LookOptions& options) {
  const std::vector<Pair> rows = spread(ranking.rows, most);
  HeadDivergences out{.rows = static_cast<int64_t>(rows.size()), .of = static_cast<int64_t>(ranking.rows.size())};
  const MapFamily &was = ranking.was.shape, &is = ranking.is.shape;
  const std::optional<Side> against = fixed ? std::optional(side_of(before, *fixed)) : std::nullopt;
  for (int layer = 0; layer < is.layers; ++layer) {
    out.divergence.emplace_back(static_cast<size_t>(is.heads), kNaN);
    if (!is_kept(ranking.is, layer) || (!fixed && !is_kept(ranking.was, layer))) continue;
    const LayerMap map = after.trace().map(is.name, layer);
    const std::optional<LayerMap> own = fixed ? std::nullopt : std::optional(before.trace().map(was.name, layer));
    for (int64_t head = 0; head < is.heads; ++head) {
      check_cancelled(options);
      const Side two{ranking.is, {{map, head}}};
      double& found = out.divergence.back()[static_cast<size_t>(head)];
      if (against) found = ranking.mean(*against, two, rows);
      if (own && head < was.heads) found = ranking.mean({ranking.was, {{*own, head}}}, two, rows);
      if (options.progress) options.progress(static_cast<double>(layer * is.heads + head + 1) / static_cast<double>(is.layers * is.heads));
    }
  }
  return out;
}

}  // namespace

ViewFrame aligned_places(const LoadedTrace& before, const LoadedTrace& after) {
  const RunText &was = before.trace().plan().text, &is = after.trace().plan().text;
  const Alignment found = align(was, is);
  const Places places = places_of(found.pieces, static_cast<int64_t>(was.ids.size()), static_cast<int64_t>(is.ids.size()));
  ViewFrame frame;
  frame.header = Json::object({{"by", to_string(found.by)}, {"whole", found.is_whole}});
  frame.add("before", places.before);
  frame.add("after", places.after);
  return frame;
}

void compare(LoadedTrace& before, LoadedTrace& after, const CompareLook& look, const TakeFrame& take, const LookOptions& options) {
  const Comparison comparison(before, after, look);
  const double work = comparison.work();
  if (work > kInstantWork) {
    LookOptions own = options;
    own.progress = nullptr;
    take(comparison.picture(1, own));
    if (comparison.is_all(1) || (work > kLongWork && !look.exact)) return;
  }
  take(comparison.picture(0, options));
}

void compare_heads(LoadedTrace& before, LoadedTrace& after, const CompareLook& look, const TakeFrame& take, const LookOptions& options) {
  const bool is_one = &before == &after;
  const Alignment alignment = align(before.trace().plan().text, after.trace().plan().text);
  const Ranking ranking(before, after, look.before.family, look.after.family, alignment.pieces);
  check_sides(before, after, ranking.was, ranking.is);
  const auto all = static_cast<int64_t>(ranking.rows.size());
  const auto tell = [&](int64_t most, const LookOptions& own) {
    const HeadDivergences found = ranked(before, after, ranking, is_one ? &look.before : nullptr, most, own);
    std::vector<float> values;
    for (const std::vector<double>& layer : found.divergence) values.insert(values.end(), layer.begin(), layer.end());
    ViewFrame frame;
    frame.header = Json::object({{"event", "heads"},
                                 {"badge", found.rows == found.of ? "exact" : "sampled"},
                                 {"sampled_rows", found.rows == found.of ? Json() : Json(found.rows)},
                                 {"rows", found.rows},
                                 {"of", found.of},
                                 {"against", is_one ? "head" : "same"}});
    frame.add("divergence", values, {static_cast<int64_t>(found.divergence.size()), ranking.is.shape.heads});
    take(std::move(frame));
  };
  int64_t most = all;
  if (ranking.work(all) > kLongWork && !look.exact)
    most = std::max(kRankedRows, static_cast<int64_t>(static_cast<double>(all) * kLongWork / ranking.work(all)));
  if (all > kFirstRows && ranking.work(std::min(all, most)) > kInstantWork) {
    LookOptions own = options;
    own.progress = nullptr;
    tell(kFirstRows, own);
  }
  tell(most, options);
}

HeadDivergences head_divergences(LoadedTrace& before, LoadedTrace& after, const std::string& family, const std::vector<Aligned>& pieces,
                                 int64_t most_rows, const LookOptions& options) {
  return ranked(before, after, Ranking(before, after, family, family, pieces), nullptr, most_rows, options);
}

}  // namespace clearhead::viewer::questions
