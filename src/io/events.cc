// Writes events as protobuf messages in TFRecords. A histogram counts floats by their sign and the 11 bits below it.
#include "io/events.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>

#include "base/format.h"
#include "clearhead/error.h"

namespace clearhead::io {
namespace {

constexpr std::string_view kPrefix = "events.out.tfevents.";

// CRC-32C (Castagnoli), masked as in record_writer.h: rotated, plus a constant.
uint32_t masked_crc(std::string_view bytes) {
  static const std::array<uint32_t, 256> table = [] {
    std::array<uint32_t, 256> out{};
    for (uint32_t i = 0; i < 256; ++i) {
      uint32_t value = i;
      for (int bit = 0; bit < 8; ++bit) value = (value >> 1) ^ ((value & 1) != 0 ? 0x82F63B78U : 0U);
      out[i] = value;
    }
    return out;
  }();
  uint32_t crc = ~0U;
  for (const char byte : bytes) crc = table[(crc ^ static_cast<uint8_t>(byte)) & 0xFF] ^ (crc >> 8);
  return std::rotr(~crc, 15) + 0xA282EAD8U;
}

template <class T>
std::string little_endian(T value) {
  std::string out;
  for (size_t at = 0; at < sizeof value; ++at) out += static_cast<char>(value >> (8 * at));
  return out;
}

// --- protobuf: a field is a varint of number · 8 + wire type, then the value ---
// Wire types: 0 varint, 1 eight bytes, 2 a length and its bytes, 5 four bytes.

std::string varint(uint64_t value) {
  std::string out;
  for (; value >= 128; value >>= 7) out += static_cast<char>(value | 128);
  return out + static_cast<char>(value);
}
std::string key(int field, unsigned kind) { return varint(static_cast<uint64_t>(field) * 8 + kind); }
std::string whole(int field, int64_t value) { return key(field, 0) + varint(static_cast<uint64_t>(value)); }
std::string real(int field, double value) { return key(field, 1) + little_endian(std::bit_cast<uint64_t>(value)); }
std::string single(int field, float value) { return key(field, 5) + little_endian(std::bit_cast<uint32_t>(value)); }
std::string bytes(int field, std::string_view value) { return key(field, 2) + varint(value.size()) + std::string(value); }
std::string reals(int field, const std::vector<double>& values) {
  std::string out;
  for (const double value : values) out += little_endian(std::bit_cast<uint64_t>(value));
  return bytes(field, out);
}

std::string begin_event(int64_t step) {
  const double now = std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
  return real(1, now) + whole(2, step);
}

// Returns a name that sorts after those of earlier files, even if the clock went back or stood still.
std::string next_name(const std::string& directory) {
  int64_t seconds = std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
  int64_t number = 0;
  std::error_code problem;
  for (const auto& entry : std::filesystem::directory_iterator(directory, problem)) {
    const std::string name = entry.path().filename().string();
    if (name.rfind(kPrefix, 0) != 0) continue;
    ++number;
    seconds = std::max<int64_t>(seconds, std::atoll(name.c_str() + kPrefix.size()));
  }
  if (problem) fail(ErrorCode::kIo, "{}: cannot be read: {}", directory, problem.message());
  return format("{}{:010}.{:04}", kPrefix, seconds, number);
}

// --- histograms: magnitude bucket b holds the floats whose 11 bits below the sign are b ---

constexpr int kMagnitudes = 1 << 11;

double magnitude(int bucket) {  // lower limit of a magnitude bucket
  const double value = static_cast<double>(std::bit_cast<float>(static_cast<uint32_t>(bucket) << 20));
  return std::isfinite(value) ? value : static_cast<double>(std::numeric_limits<float>::max());
}

// Upper limit of signed bucket b of 2 · kMagnitudes. Negative buckets come first, the one of largest magnitude in front.
double limit(int bucket) {
  return bucket < kMagnitudes ? (bucket == kMagnitudes - 1 ? 0 : -magnitude(kMagnitudes - 1 - bucket))
                              : magnitude(bucket - kMagnitudes + 1);
}

}  // namespace

Histogram Histogram::of(const Tensor& values) {
  const Tensor all = values.contiguous();
  const float* from = all.data<float>();
  std::vector<int64_t> counts(2 * kMagnitudes, 0);
  Histogram out;
  int64_t count = 0;
  float least = std::numeric_limits<float>::max(), most = std::numeric_limits<float>::lowest();
  for (int64_t i = 0; i < all.numel(); ++i) {
    if (!std::isfinite(from[i])) continue;
    const uint32_t bits = std::bit_cast<uint32_t>(from[i]);
    const int size = static_cast<int>((bits & 0x7FFFFFFFU) >> 20);
    ++counts[static_cast<size_t>((bits >> 31) != 0 ? kMagnitudes - 1 - size : kMagnitudes + size)];
    ++count;
    least = std::min(least, from[i]);
    most = std::max(most, from[i]);
    const double value = static_cast<double>(from[i]);
    out.sum += value;
    out.sum_of_squares += value * value;
  }
  if (count == 0) return out;
  out.count = static_cast<double>(count);
  out.least = static_cast<double>(least);
  out.most = static_cast<double>(most);
  int last = -1;
  for (int bucket = 0; bucket < 2 * kMagnitudes; ++bucket) {
    const int64_t here = counts[static_cast<size_t>(bucket)];
    if (here == 0) continue;
    if (last >= 0 && last < bucket - 1) {  // an empty bucket marks where this one begins
      out.limits.push_back(limit(bucket - 1));
      out.counts.push_back(0);
    }
    out.limits.push_back(limit(bucket));
    out.counts.push_back(static_cast<double>(here));
    last = bucket;
  }
  return out;
}

EventWriter::EventWriter(const std::string& directory, int64_t first_step)
    : path_(directory + "/" + next_name(directory)), file_(path_, std::ios::binary) {
  if (!file_) fail(ErrorCode::kIo, "{}: cannot be written: {}", path_, std::strerror(errno));
  record(begin_event(0) + bytes(3, "brain.Event:2"));
  record(begin_event(first_step) + bytes(7, whole(1, 1)));
}

void EventWriter::add_number(std::string_view tag, double value) {
  summary_ += bytes(1, bytes(1, tag) + single(2, static_cast<float>(value)));
}

void EventWriter::add_histogram(std::string_view tag, const Histogram& h) {
  if (h.counts.empty()) return;
  const std::string fields = real(1, h.least) + real(2, h.most) + real(3, h.count) + real(4, h.sum) + real(5, h.sum_of_squares) +
                             reals(6, h.limits) + reals(7, h.counts);
  summary_ += bytes(1, bytes(1, tag) + bytes(5, fields));
}

void EventWriter::add_image(std::string_view tag, int64_t width, int64_t height, std::string_view png) {
  summary_ += bytes(1, bytes(1, tag) + bytes(4, whole(1, height) + whole(2, width) + whole(3, 3) + bytes(4, png)));
}

void EventWriter::write(int64_t step) {
  if (summary_.empty()) return;
  record(begin_event(step) + bytes(5, summary_));
  summary_.clear();
}

void EventWriter::record(std::string_view event) {
  const std::string length = little_endian(static_cast<uint64_t>(event.size()));
  const std::string all = length + little_endian(masked_crc(length)) + std::string(event) + little_endian(masked_crc(event));
  if (!file_.write(all.data(), static_cast<std::streamsize>(all.size())).flush()) {
    fail(ErrorCode::kIo, "{}: cannot be written: {}", path_, std::strerror(errno));
  }
}

}  // namespace clearhead::io
