// Chooses the files of a model by the names that loading reads, and compresses each once.
#include "viewer/page_engine.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <iterator>
#include <string_view>

#include "base/file.h"
#include "base/format.h"
#include "models/input_kind.h"
#include "viewer/bundle.h"
#include "viewer/page_blobs.h"
#include "viewer/questions/info.h"

namespace clearhead::viewer {
namespace {

namespace fs = std::filesystem;

constexpr const char* kTrace = "/opened.trace";

// The bytes of the saved trace, whose file exists only meanwhile.
std::string saved(const Trace& trace) {
  struct Folder {
    std::string path = (fs::temp_directory_path() / "clearhead-XXXXXX").string();
    ~Folder() {
      std::error_code ignored;
      fs::remove_all(path, ignored);
    }
  } folder;
  if (!::mkdtemp(folder.path.data())) fail(ErrorCode::kIo, "{}: a folder for temporary files cannot be created", folder.path);
  const std::string path = folder.path + "/opened.trace";
  trace.save(path);
  return std::string(MappedFile::open(path)->bytes());
}

// The files of a model's folder that loading reads, relative to the folder. Others, such as logs, optimiser states and training data, must
// not get into a page.
std::vector<fs::path> files_of(const fs::path& folder) {
  static constexpr std::string_view kNames[] = {"config.json",
                                                "generation_config.json",
                                                "tokenizer.json",
                                                "tokenizer_config.json",
                                                "special_tokens_map.json",
                                                "added_tokens.json",
                                                "vocab.json",
                                                "vocab.txt",
                                                "merges.txt",
                                                "modules.json",
                                                "sentence_bert_config.json",
                                                "config_sentence_transformers.json",
                                                "model.safetensors",
                                                "model.safetensors.index.json"};
  std::vector<fs::path> found;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    const bool is_shard = name.starts_with("model-") && name.ends_with(".safetensors");
    if (entry.is_regular_file() && (is_shard || std::find(std::begin(kNames), std::end(kNames), name) != std::end(kNames)))
      found.emplace_back(name);
    // The modules of sentence-transformers, such as 1_Pooling.
    const bool is_module = entry.is_directory() && name[0] >= '0' && name[0] <= '9' && fs::exists(entry.path() / "config.json");
    if (is_module) found.push_back(fs::path(name) / "config.json");
  }
  return found;
}

// The reason that a page cannot compute this trace; empty if it can.
std::string reason_against(const LoadedTrace& loaded) {
  const auto& model = loaded.options().model;
  if (engine_bundle().wasm.empty()) return "this program contains no engine for pages";
  if (!model) return "a page with a model needs a model and a text, but a trace contains no model";
  if (!input_kind(model->info()).is_text()) {
    return format("\"{}\" reads a {}, and only models that read a text can run in a page", model->info().name, model->info().reads);
  }
  if (loaded.trace().plan().model != model->info().name)
    return format("the trace is of \"{}\", and the model is \"{}\"", loaded.trace().plan().model, model->info().name);
  const auto tokens = static_cast<int64_t>(loaded.trace().plan().text.ids.size());
  if (tokens <= kLongestComputed) return "";
  return format("the text has {} tokens, and a page that runs its model shows at most {}", tokens, kLongestComputed);
}

}  // namespace

PageEngine::PageEngine(std::span<LoadedTrace> traces) {
  std::string reason;
  bool any = false;
  wasm_ = add(engine_bundle().wasm);
  for (const LoadedTrace& loaded : traces) {
    const std::string against = reason_against(loaded);
    traces_.emplace_back();
    if (against.empty()) add_trace(loaded);
    any = any || against.empty();
    if (reason.empty()) reason = against;
  }
  if (!any) fail(ErrorCode::kUnsupported, "export: {}; leave the model out.", reason);
}

size_t PageEngine::add(std::string_view bytes) {
  blobs_.push_back(deflated(bytes));
  return blobs_.size() - 1;
}

void PageEngine::add_trace(const LoadedTrace& loaded) {
  const ModelInfo& model = loaded.options().model->info();
  auto [files, is_new] = models_.try_emplace(model.name);
  if (is_new) {
    for (const fs::path& file : files_of(model.directory)) {
      const fs::path path = (fs::path("/") / model.name / file).lexically_normal();  // from the root, ".." leads nowhere
      files->second[path.string()] = add(MappedFile::open((fs::path(model.directory) / file).string())->bytes());
    }
  }
  Files& own = traces_.back();
  own.blob_of = files->second;
  own.blob_of[kTrace] = add(saved(loaded.trace()));
  const LoadOptions& load = loaded.options().load;
  own.opened = Json::object({{"trace", kTrace},
                             {"model", model.name},
                             {"weights", to_string(load.weights)},
                             {"precision", to_string(load.precision)},
                             {"command", loaded.options().command},
                             {"answered", questions::answered_json(loaded.options())},
                             {"version", loaded.options().version},
                             {"budget", static_cast<int64_t>(loaded.options().trace.budget_bytes)}});
}

std::string PageEngine::script() const {
  return "<script type=\"text/plain\" id=\"clearhead-engine-script\">" + std::string(engine_bundle().script) + "</script>\n";
}

Json PageEngine::trace(size_t at, size_t first) const {
  if (traces_[at].opened.is_null()) return nullptr;
  Json files = Json::array();
  for (const auto& [path, blob] : traces_[at].blob_of) {
    files.push(Json::object({{"path", path}, {"blob", static_cast<int64_t>(first + blob)}}));
  }
  return Json::object({{"wasm", static_cast<int64_t>(first + wasm_)}, {"files", files}, {"open", traces_[at].opened}});
}

}  // namespace clearhead::viewer
