// The functions of librsvg 2.46 and later and of cairo 1.16 and later that are called, as their headers declare them (librsvg/rsvg.h,
// cairo-pdf.h): their binary interfaces are stable, so headers are not needed.
#include "viewer/figure/pdf.h"

#include <dlfcn.h>

#include <cstdint>
#include <cstdlib>

#include "base/format.h"

namespace clearhead::figure {
namespace {

struct Rectangle {
  double x, y, width, height;
};
struct GlibError {
  uint32_t domain;
  int code;
  char* message;
};
using Write = int (*)(void* closure, const unsigned char* data, unsigned length);

// What is called, by its name in the libraries.
struct Libraries {
  void* (*rsvg_handle_new_from_data)(const uint8_t*, size_t, GlibError**);
  void (*rsvg_handle_set_dpi)(void*, double);
  int (*rsvg_handle_get_intrinsic_size_in_pixels)(void*, double*, double*);
  int (*rsvg_handle_render_document)(void*, void*, const Rectangle*, GlibError**);
  void (*g_object_unref)(void*);
  void (*g_error_free)(GlibError*);
  void* (*cairo_pdf_surface_create_for_stream)(Write, void*, double, double);
  void (*cairo_pdf_surface_set_metadata)(void*, int, const char*);
  void* (*cairo_create)(void*);
  void (*cairo_destroy)(void*);
  void (*cairo_surface_finish)(void*);
  int (*cairo_surface_status)(void*);
  void (*cairo_surface_destroy)(void*);
  bool is_whole = true;

  Libraries() {
    void* library = ::dlopen("librsvg-2.so.2", RTLD_NOW | RTLD_LOCAL);
    const auto take = [&](auto& function, const char* name) {
      void* found = library ? ::dlsym(library, name) : nullptr;  // searches what the library itself was linked with, too
      function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(found);
      is_whole = is_whole && found;
    };
    take(rsvg_handle_new_from_data, "rsvg_handle_new_from_data");
    take(rsvg_handle_set_dpi, "rsvg_handle_set_dpi");
    take(rsvg_handle_get_intrinsic_size_in_pixels, "rsvg_handle_get_intrinsic_size_in_pixels");
    take(rsvg_handle_render_document, "rsvg_handle_render_document");
    take(g_object_unref, "g_object_unref");
    take(g_error_free, "g_error_free");
    take(cairo_pdf_surface_create_for_stream, "cairo_pdf_surface_create_for_stream");
    take(cairo_pdf_surface_set_metadata, "cairo_pdf_surface_set_metadata");
    take(cairo_create, "cairo_create");
    take(cairo_destroy, "cairo_destroy");
    take(cairo_surface_finish, "cairo_surface_finish");
    take(cairo_surface_status, "cairo_surface_status");
    take(cairo_surface_destroy, "cairo_surface_destroy");
  }
};

const Libraries& libraries() {
  static const Libraries loaded;  // never unloaded: glib does not outlive that
  if (!loaded.is_whole) {
    fail(ErrorCode::kUnsupported,
         "PDF needs librsvg 2.52 or later, which was not found: install librsvg2-2 (Debian, Ubuntu) or librsvg2 (Fedora), or write SVG.");
  }
  return loaded;
}

[[noreturn]] void refuse(const Libraries& with, GlibError* error) {
  const std::string message = error && error->message ? error->message : "unknown";
  if (error) with.g_error_free(error);
  fail(ErrorCode::kFormat, "PDF: librsvg cannot draw this SVG: {}", message);
}

}  // namespace

std::string pdf(const std::string& svg, const std::string& title, const std::string& subject) {
  constexpr int kTitle = 0, kSubject = 2;  // cairo_pdf_metadata_t
  const Libraries& with = libraries();
  GlibError* error = nullptr;
  void* document = with.rsvg_handle_new_from_data(reinterpret_cast<const uint8_t*>(svg.data()), svg.size(), &error);
  if (!document) refuse(with, error);
  with.rsvg_handle_set_dpi(document, 72);  // so that a pixel is a point
  Rectangle page{0, 0, 0, 0};
  if (!with.rsvg_handle_get_intrinsic_size_in_pixels(document, &page.width, &page.height)) {
    with.g_object_unref(document);
    fail(ErrorCode::kFormat, "PDF: the SVG says no width and height");
  }
  std::string out;
  const Write write = [](void* closure, const unsigned char* data, unsigned length) {
    static_cast<std::string*>(closure)->append(reinterpret_cast<const char*>(data), length);
    return 0;
  };
  void* surface = with.cairo_pdf_surface_create_for_stream(write, &out, page.width, page.height);
  with.cairo_pdf_surface_set_metadata(surface, kTitle, title.c_str());
  with.cairo_pdf_surface_set_metadata(surface, kSubject, subject.c_str());
  void* pen = with.cairo_create(surface);
  const bool is_drawn = with.rsvg_handle_render_document(document, pen, &page, &error);
  with.cairo_destroy(pen);
  with.cairo_surface_finish(surface);
  const int status = with.cairo_surface_status(surface);
  with.cairo_surface_destroy(surface);
  with.g_object_unref(document);
  if (!is_drawn) refuse(with, error);
  if (status != 0) fail(ErrorCode::kIo, "PDF: cairo stopped with status {}", status);
  return out;
}

}  // namespace clearhead::figure
