#include "index/recorded.h"

#include <cstring>
#include <tuple>

namespace btfc::index {

Encoder& Encoder::operator<<(const Owner& owner) {
  return *this << owner.uid << owner.gid << owner.user << owner.group << owner.mounter
               << owner.mounter_group;
}

Encoder& Encoder::operator<<(const NewNode& node) {
  return *this << node.kind << node.mode << node.owner << node.target << node.rdev
               << node.acl_access << node.acl_default;
}

Encoder& Encoder::operator<<(const AttributeChange& change) {
  return *this << change.mode << change.owner << change.acl_access << change.acl_default
               << change.mtime_ns << change.atime_ns;
}

Encoder& Encoder::operator<<(const NewVersion& version) {
  return *this << version.id.root << version.id.size << version.inline_bytes << version.mtime_ns
               << version.ctime_ns;
}

Encoder& operator<<(Encoder& encoder, const Circumstances& circumstances) {
  encoder << circumstances.now_ns << circumstances.next_ino
          << static_cast<std::uint32_t>(circumstances.ids.size());
  for (const auto& id : circumstances.ids) encoder << id;
  return encoder;
}

void Decoder::Take(char* to, std::size_t size) {
  if (bytes_.size() < size) {
    good_ = false;
    bytes_ = {};
    return;
  }
  std::memcpy(to, bytes_.data(), size);
  bytes_.remove_prefix(size);
}

Decoder& Decoder::operator>>(std::string& text) {
  std::uint32_t size = 0;
  *this >> size;
  if (bytes_.size() < size) {
    good_ = false;
    bytes_ = {};
    return *this;
  }
  text = bytes_.substr(0, size);
  bytes_.remove_prefix(size);
  return *this;
}

Decoder& Decoder::operator>>(Owner& owner) {
  return *this >> owner.uid >> owner.gid >> owner.user >> owner.group >> owner.mounter >>
         owner.mounter_group;
}

Decoder& Decoder::operator>>(NewNode& node) {
  return *this >> node.kind >> node.mode >> node.owner >> node.target >> node.rdev >>
         node.acl_access >> node.acl_default;
}

Decoder& Decoder::operator>>(AttributeChange& change) {
  return *this >> change.mode >> change.owner >> change.acl_access >> change.acl_default >>
         change.mtime_ns >> change.atime_ns;
}

Decoder& Decoder::operator>>(NewVersion& version) {
  return *this >> version.id.root >> version.id.size >> version.inline_bytes >> version.mtime_ns >>
         version.ctime_ns;
}

Decoder& operator>>(Decoder& decoder, Circumstances& circumstances) {
  std::uint32_t count = 0;
  decoder >> circumstances.now_ns >> circumstances.next_ino >> count;
  for (; decoder.good() && count > 0; --count) decoder >> circumstances.ids.emplace_back();
  return decoder;
}

namespace {

// Arguments out of the record, in the order of Record, then the call.
template <class... Arguments, class Call>
Result<void> With(Decoder& decoder, Call&& call) {
  std::tuple<Arguments...> arguments;
  std::apply([&](auto&... each) { (decoder >> ... >> each); }, arguments);
  if (!decoder.good()) return Error::kCorrupt;
  const auto result = std::apply(call, arguments);
  if (!result) return result.error();
  return Ok();
}

}  // namespace

Result<void> Repeat(Catalogue& catalogue, std::string_view record) {
  using std::string;
  Decoder decoder(record);
  Operation operation{};
  decoder >> operation;
  switch (operation) {
    case Operation::kMake:
      return With<Ino, string, NewNode>(decoder,
                                        [&](Ino parent, const string& name, const NewNode& node) {
                                          return catalogue.Make(parent, name, node);
                                        });
    case Operation::kLink:
      return With<Ino, Ino, string>(decoder, [&](Ino ino, Ino parent, const string& name) {
        return catalogue.Link(ino, parent, name);
      });
    case Operation::kUnlink:
      return With<Ino, string>(
          decoder, [&](Ino parent, const string& name) { return catalogue.Unlink(parent, name); });
    case Operation::kRemoveFolder:
      return With<Ino, string>(decoder, [&](Ino parent, const string& name) {
        return catalogue.RemoveFolder(parent, name);
      });
    case Operation::kRename:
      return With<Ino, string, Ino, string, unsigned>(
          decoder, [&](Ino parent, const string& name, Ino new_parent, const string& new_name,
                       unsigned flags) {
            return catalogue.Rename(parent, name, new_parent, new_name, flags);
          });
    case Operation::kSetAttributes:
      return With<Ino, AttributeChange>(decoder, [&](Ino ino, const AttributeChange& change) {
        return catalogue.SetAttributes(ino, change);
      });
    case Operation::kSetXattr:
      return With<Ino, string, string, int>(
          decoder, [&](Ino ino, const string& name, const string& value, int flags) {
            return catalogue.SetXattr(ino, name, value, flags);
          });
    case Operation::kRemoveXattr:
      return With<Ino, string>(
          decoder, [&](Ino ino, const string& name) { return catalogue.RemoveXattr(ino, name); });
    case Operation::kForget:
      return With<Ino>(decoder, [&](Ino ino) { return catalogue.Forget(ino); });
    case Operation::kBeginWrite:
      return With<Ino>(decoder, [&](Ino ino) { return catalogue.BeginWrite(ino, false); });
    case Operation::kCommit:
      return With<Ino, NewVersion, bool>(decoder,
                                         [&](Ino ino, const NewVersion& version, bool still_open) {
                                           return catalogue.Commit(ino, version, still_open);
                                         });
    case Operation::kAbandonWrite:
      return With<Ino>(decoder, [&](Ino ino) { return catalogue.AbandonWrite(ino); });
  }
  return Error::kCorrupt;
}

}  // namespace btfc::index
