// This host's rows on their way out.
#include <google/protobuf/unknown_field_set.h>

#include "index/delta.h"
#include "index/merkle.h"

namespace btfc::index {
namespace {

// What a part has besides its rows: summaries and devices are bounded, and so is their share.
constexpr std::size_t kRowsMax = kDeltaPartMax / 2;

template <class Row, class Body>
void SetExtra(const Row& row, Body* body) {
  if (!row.extra.empty()) SetUnknownFields(row.extra, body);
}

}  // namespace

std::string UnknownFields(const google::protobuf::Message& message) {
  std::string bytes;
  const auto& fields = message.GetReflection()->GetUnknownFields(message);
  if (!fields.empty()) fields.SerializeToString(&bytes);
  return bytes;
}

void SetUnknownFields(const std::string& bytes, google::protobuf::Message* message) {
  message->GetReflection()->MutableUnknownFields(message)->ParseFromString(bytes);
}

// --- parts

PartMaker::PartMaker(std::uint32_t number) {
  part_.set_format(kDeltaFormat);
  part_.set_number(number);
}

void PartMaker::SetSummaries(const Summary& since, const Summary& until) {
  Put(since, part_.mutable_since());
  Put(until, part_.mutable_until());
}

void PartMaker::SetGiver(const DeviceId& giver, const Summary& horizon, const Summary& parts,
                         const Summary& collected) {
  part_.set_giver(giver.bytes.data(), giver.bytes.size());
  Put(horizon, part_.mutable_horizon());
  Put(parts, part_.mutable_parts());
  Put(collected, part_.mutable_collected());
}

std::uint32_t PartMaker::Device(const DeviceId& device) {
  const auto [found, added] = devices_.emplace(device, devices_.size());
  if (added) part_.add_devices(device.bytes.data(), device.bytes.size());
  return found->second;
}

void PartMaker::Put(const Stamp& stamp, wire::Stamp* to) {
  to->set_time_ns(stamp.time_ns);
  to->set_device(Device(stamp.device));
  to->set_life(stamp.life);
  to->set_sub(stamp.sub);
}

void PartMaker::Put(const Dot& dot, wire::Dot* to) {
  to->set_device(Device(dot.device));
  to->set_n(dot.n);
}

void PartMaker::Put(const Summary& summary, wire::Summary* to) {
  for (const auto& [device, n] : summary) Put(Dot{device, n}, to->add_known());
}

void PartMaker::Put(const Known& known, wire::Known* to) {
  Put(known.context, to->mutable_context());
  for (const Dot& dot : known.aside) Put(dot, to->add_aside());
}

wire::Row PartMaker::NewRow(const Dot& dot) {
  wire::Row row;
  row.set_dot_device(Device(dot.device));
  row.set_dot_n(dot.n);
  return row;
}

bool PartMaker::Add(wire::Row row) {
  const std::size_t size = row.ByteSizeLong() + 8;  // its tag and length
  if (part_.rows_size() > 0 && size_ + size > kRowsMax) return false;
  size_ += size;
  *part_.add_rows() = std::move(row);
  return true;
}

std::string PartMaker::Finish(bool last) {
  part_.set_last(last);
  return part_.SerializeAsString();
}

// --- rows

wire::Row RowEncoder::Device(std::int64_t number) {
  const auto row = tables_.GetDevice(tables_.devices().IdOf(number));
  wire::Row out = part_.NewRow(row->dot);
  auto* body = out.mutable_device();
  part_.Put(row->stamp, body->mutable_stamp());
  body->set_device(Bytes(row->device));
  body->set_name(row->name);
  body->set_key(row->key.data(), row->key.size());
  body->set_role(row->role);
  body->set_incarnation(row->incarnation);
  SetExtra(*row, body);
  return out;
}

wire::Row RowEncoder::Inode(Ino ino) {
  const auto row = tables_.GetInode(ino);
  wire::Row out = part_.NewRow(row->dot);
  auto* body = out.mutable_inode();
  part_.Put(row->stamp, body->mutable_stamp());
  body->set_inode(Bytes(tables_.IdOfInode(ino)));
  body->set_kind(static_cast<std::uint32_t>(row->kind));
  body->set_target(row->target);
  body->set_rdev(row->rdev);
  if (row->copy_of != 0) body->set_copy_of(Bytes(tables_.IdOfInode(row->copy_of)));
  SetExtra(*row, body);
  return out;
}

wire::Row RowEncoder::Attributes(Ino ino) {
  const auto row = tables_.GetAttributes(ino);
  wire::Row out = part_.NewRow(row->dot);
  auto* body = out.mutable_attributes();
  part_.Put(row->stamp, body->mutable_stamp());
  body->set_inode(Bytes(tables_.IdOfInode(ino)));
  body->set_mode(row->mode);
  body->set_uid(row->owner.uid);
  body->set_gid(row->owner.gid);
  body->set_user(row->owner.user);
  body->set_group(row->owner.group);
  body->set_mounter(row->owner.mounter);
  body->set_mounter_group(row->owner.mounter_group);
  body->set_acl_access(row->acl_access);
  body->set_acl_default(row->acl_default);
  SetExtra(*row, body);
  return out;
}

wire::Row RowEncoder::Register(std::int64_t number) {
  const auto row = tables_.GetRegister(number);
  wire::Row out = part_.NewRow(row->dot);
  auto* body = out.mutable_register_();
  part_.Put(row->stamp, body->mutable_stamp());
  body->set_inode(Bytes(tables_.IdOfInode(row->ino)));
  body->set_name(row->name);
  if (row->value) body->set_value(*row->value);
  SetExtra(*row, body);
  return out;
}

wire::Row RowEncoder::Place(LinkNo link) {
  const auto row = tables_.GetLink(link);
  wire::Row out = part_.NewRow(row->dot);
  auto* body = out.mutable_place();
  part_.Put(row->stamp, body->mutable_stamp());
  body->set_link(Bytes(row->id));
  body->set_inode(Bytes(tables_.IdOfInode(row->ino)));
  body->set_parent(Bytes(tables_.IdOfInode(row->spot.folder)));
  body->set_name(row->spot.name);
  if (row->previous) {
    body->set_previous_parent(Bytes(tables_.IdOfInode(row->previous->folder)));
    body->set_previous_name(row->previous->name);
  }
  SetExtra(*row, body);
  return out;
}

wire::Row RowEncoder::Version(VersionNo version) {
  const auto row = tables_.GetVersion(version);
  wire::Row out = part_.NewRow(row->dot);
  auto* body = out.mutable_version();
  part_.Put(row->stamp, body->mutable_stamp());
  body->set_inode(Bytes(tables_.IdOfInode(row->ino)));
  part_.Put(row->commit, body->mutable_commit());
  if (row->content.size > 0) body->set_root(row->content.root.data(), row->content.root.size());
  body->set_size(row->content.size);
  body->set_mtime_ns(row->mtime_ns);
  if (row->content.size <= kInlineMax) {
    body->set_inline_(tables_.InlineOf(version));
    if (ContentIdOf(body->inline_()) != row->content) {
      throw StorageFailure(Error::kCorrupt, "the bytes of a small file are not what its row says");
    }
  }
  part_.Put(row->known, body->mutable_known());
  SetExtra(*row, body);
  return out;
}

wire::Row RowEncoder::Removal(LinkNo link) {
  const auto row = tables_.GetRemoval(link);
  wire::Row out = part_.NewRow(row->dot);
  auto* body = out.mutable_removal();
  body->set_link(Bytes(tables_.IdOfLink(link)));
  part_.Put(row->seen, body->mutable_seen());
  part_.Put(row->known, body->mutable_known());
  if (row->merged_into != 0) body->set_merged_into(Bytes(tables_.IdOfInode(row->merged_into)));
  body->set_time_ns(row->time_ns);
  SetExtra(*row, body);
  return out;
}

wire::Row RowEncoder::Seen(std::int64_t number) {
  const auto row = tables_.GetSeen(tables_.devices().IdOf(number));
  wire::Row out = part_.NewRow(row->dot);
  auto* body = out.mutable_seen();
  body->set_device(Bytes(row->device));
  const auto put = [this](const Summary& summary, auto* to) {
    for (const auto& [device, n] : summary) {
      auto* entry = to->Add();
      entry->set_device(Bytes(device));
      entry->set_n(n);
    }
  };
  put(row->known, body->mutable_known());
  put(row->horizon, body->mutable_horizon());
  put(row->parts, body->mutable_parts());
  SetExtra(*row, body);
  return out;
}

wire::Row RowEncoder::Other(const Dot& dot) {
  wire::Row out = part_.NewRow(dot);
  SetUnknownFields(tables_.GetOther(dot), &out);
  return out;
}

}  // namespace btfc::index
