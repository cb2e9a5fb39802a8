// Reads one file, or the shards of an index as one. Every tensor comes from the shard that the index names for it. Bytes
// stay in the mapping until they are requested. Bools other than 0 and 1 are refused.
#include "io/safetensors.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <unordered_map>

#include "base/file.h"
#include "base/format.h"
#include "base/json.h"
#include "base/nearest.h"
#include "io/safetensors_header.h"

namespace clearhead::io {

struct SafeTensors::Contents {
  struct Shard {
    std::string where;
    std::string_view bytes;
    std::shared_ptr<const void> keep_alive;
    std::shared_ptr<MappedFile> file;  // null for from_bytes
  };
  std::string where;
  std::vector<Shard> shards;
  std::vector<TensorEntry> entries;
  std::map<std::string, std::string> metadata;
  std::unordered_map<std::string_view, size_t> index;  // into entries, which must not grow once it is made

  void add(Shard shard) {
    safetensors::Header header = safetensors::read_header(shard.bytes, shard.where);
    metadata.merge(header.metadata);
    for (TensorEntry& entry : header.entries) {
      entry.shard = shards.size();
      const size_t width = entry.dtype ? size_of(*entry.dtype) : 1;
      entry.aligned = reinterpret_cast<uintptr_t>(shard.bytes.data() + entry.begin) % width == 0;
      entries.push_back(std::move(entry));
    }
    shards.push_back(std::move(shard));
  }

  void add_file(const std::string& path) {
    const std::shared_ptr<MappedFile> file = MappedFile::open(path);
    add({path, file->bytes(), file, file});
  }

  void make_index() {
    index.reserve(entries.size());
    for (size_t i = 0; i < entries.size(); ++i) {
      const auto [there, fresh] = index.emplace(entries[i].name, i);
      if (fresh) continue;
      fail(ErrorCode::kFormat, "{}: tensor \"{}\" is also in {}", shards[entries[i].shard].where, entries[i].name,
           shards[entries[there->second].shard].where);
    }
  }
};

namespace {

constexpr const char* kSingle = "model.safetensors";
constexpr const char* kIndex = "model.safetensors.index.json";

bool exists(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::exists(path, ignored);
}

std::string in(const std::string& directory, std::string_view name) { return (std::filesystem::path(directory) / name).string(); }

std::string quoted_for_the_shell(const std::string& text) {
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

[[noreturn]] void refuse_directory(const std::string& directory) {
  if (exists(in(directory, "pytorch_model.bin")) || exists(in(directory, "pytorch_model.bin.index.json"))) {
    fail(ErrorCode::kUnsupported,
         "{}: contains pytorch_model.bin, but pickles are not supported. Convert it once: python3 -c \"import glob, sys, torch; from "
         "safetensors.torch import save_file; d = sys.argv[1]; save_file({{k: v.clone().contiguous() for f in glob.glob(glob.escape(d) + "
         "'/pytorch_model*.bin') for k, v in torch.load(f, map_location='cpu', weights_only=True).items()}}, d + '/model.safetensors', "
         "{{'format': 'pt'}})\" {}",
         directory, quoted_for_the_shell(directory));
  }
  fail(ErrorCode::kNotFound, "{}: expected {} or {} in this directory, found neither", directory, kSingle, kIndex);
}

// Returns the file names in an index, sorted, without repeats.
std::vector<std::string> shard_names(const Json& index, const std::string& where) {
  Fields fields(index, where);
  const Json& weights = fields.require("weight_map");
  if (!weights.is_object()) fields.wrong("weight_map", "an object that maps tensor names to file names", weights);
  std::vector<std::string> names;
  for (const auto& [tensor, file] : weights.fields()) {
    if (!file.is_string())
      fail(ErrorCode::kFormat, "{}: \"weight_map.{}\": expected a file name, found {}", where, tensor, file.describe());
    const std::string& name = file.string();
    if (name.empty() || name == "." || name == ".." || name.find_first_of(std::string_view("/\\\0", 3)) != std::string::npos) {
      fail(ErrorCode::kFormat, "{}: \"weight_map.{}\": expected a file name in the same directory, found {}", where, tensor,
           file.describe());
    }
    names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  return names;
}

void check_bools(const Tensor& tensor, const std::string& where, const std::string& name) {
  const auto* bytes = reinterpret_cast<const unsigned char*>(tensor.raw());
  const auto* end = bytes + tensor.bytes();
  const auto* wrong = std::find_if(bytes, end, [](unsigned char byte) { return byte > 1; });
  if (wrong != end) {
    fail(ErrorCode::kFormat, "{}: tensor \"{}\": element {} is {}; expected 0 or 1, because the dtype is BOOL", where, name, wrong - bytes,
         static_cast<int>(*wrong));
  }
}

}  // namespace

SafeTensors SafeTensors::open(const std::string& path) {
  auto contents = std::make_shared<Contents>();
  contents->where = path;
  contents->add_file(path);
  contents->make_index();
  return SafeTensors(std::move(contents));
}

SafeTensors SafeTensors::from_bytes(std::string_view bytes, std::shared_ptr<const void> keep_alive, const std::string& where) {
  auto contents = std::make_shared<Contents>();
  contents->where = where;
  contents->add({where, bytes, std::move(keep_alive), nullptr});
  contents->make_index();
  return SafeTensors(std::move(contents));
}

SafeTensors SafeTensors::open_model(const std::string& directory) {
  if (!exists(directory)) fail(ErrorCode::kNotFound, "{}: there is no such directory", directory);
  if (exists(in(directory, kSingle))) return open(in(directory, kSingle));
  const std::string index_path = in(directory, kIndex);
  if (!exists(index_path)) refuse_directory(directory);

  const Json index = Json::parse(read_config(index_path), index_path);
  auto contents = std::make_shared<Contents>();
  contents->where = index_path;
  for (const std::string& name : shard_names(index, index_path)) {
    if (!exists(in(directory, name))) {
      fail(ErrorCode::kNotFound, "{}: names the shard {}, which does not exist. The download is probably incomplete.", index_path, name);
    }
    contents->add_file(in(directory, name));
  }
  contents->make_index();
  for (const auto& [tensor, file] : index.find("weight_map")->fields()) {
    const auto found = contents->index.find(tensor);
    if (found == contents->index.end() || contents->shards[contents->entries[found->second].shard].where != in(directory, file.string())) {
      fail(ErrorCode::kFormat, "{}: lists tensor \"{}\" in {}, but that file does not contain it", index_path, tensor, file.string());
    }
  }
  return SafeTensors(std::move(contents));
}

const std::vector<TensorEntry>& SafeTensors::entries() const { return contents_->entries; }

std::vector<std::string> SafeTensors::names() const {
  std::vector<std::string> names;
  names.reserve(entries().size());
  for (const TensorEntry& entry : entries()) names.push_back(entry.name);
  return names;
}

const TensorEntry* SafeTensors::find(std::string_view name) const {
  const auto found = contents_->index.find(name);
  return found == contents_->index.end() ? nullptr : &contents_->entries[found->second];
}

const TensorEntry& SafeTensors::require(std::string_view name) const {
  if (const TensorEntry* entry = find(name)) return *entry;
  std::vector<std::string_view> known;
  known.reserve(entries().size());
  for (const TensorEntry& entry : entries()) known.push_back(entry.name);
  fail(ErrorCode::kNotFound, "{}: no tensor \"{}\" among {}{}", where(), name, with_commas(static_cast<int64_t>(known.size())),
       nearest_hint(name, known));
}

Tensor SafeTensors::get(std::string_view name) const {
  const TensorEntry& entry = require(name);
  const Contents::Shard& shard = contents_->shards[entry.shard];
  if (!entry.dtype) {
    fail(ErrorCode::kUnsupported, "{}: tensor \"{}\": dtype {} is not supported; expected F32, BF16, F16, I32, I64, U8 or BOOL",
         shard.where, entry.name, entry.file_dtype);
  }
  const char* data = shard.bytes.data() + entry.begin;
  Tensor out;
  if (entry.aligned) {
    out = Tensor::borrow(data, entry.shape, *entry.dtype, shard.keep_alive, /*immutable=*/true);
  } else {
    out = Tensor::empty(entry.shape, *entry.dtype);
    if (entry.end > entry.begin) std::memcpy(out.mutable_raw(), data, entry.end - entry.begin);
  }
  if (entry.dtype == DType::kBool) check_bools(out, shard.where, entry.name);
  return out;
}

const std::map<std::string, std::string>& SafeTensors::metadata() const { return contents_->metadata; }

void SafeTensors::release(std::string_view name) const {
  const TensorEntry& entry = require(name);
  const std::shared_ptr<MappedFile>& file = contents_->shards[entry.shard].file;
  if (file) file->release(entry.begin, entry.end);
}

const std::string& SafeTensors::where() const { return contents_->where; }

}  // namespace clearhead::io
