"""The kubelet's device plugin API, v1beta1, as far as the GPU mock speaks it: messages, methods, names of sockets.

The messages are built from the table below with the field numbers of the published api.proto, so that nothing is
generated and checked in. Unknown fields are kept by protobuf: a newer kubelet may say more than is listed here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

VERSION = "v1beta1"
KUBELET_SOCKET = "kubelet.sock"
HEALTHY = "Healthy"
UNHEALTHY = "Unhealthy"

_FIELD = descriptor_pb2.FieldDescriptorProto
_STRING, _BOOL, _INT32 = _FIELD.TYPE_STRING, _FIELD.TYPE_BOOL, _FIELD.TYPE_INT32
_MESSAGES: dict[str, dict[str, tuple[int, int | str]]] = {
    "Empty": {},
    "DevicePluginOptions": {"pre_start_required": (1, _BOOL), "get_preferred_allocation_available": (2, _BOOL)},
    "RegisterRequest": {
        "version": (1, _STRING),
        "endpoint": (2, _STRING),
        "resource_name": (3, _STRING),
        "options": (4, "DevicePluginOptions"),
    },
    "Device": {"ID": (1, _STRING), "health": (2, _STRING)},
    "ListAndWatchResponse": {"devices": (1, "*Device")},
    "ContainerAllocateRequest": {"devices_ids": (1, "*")},
    "AllocateRequest": {"container_requests": (1, "*ContainerAllocateRequest")},
    "Entry": {"key": (1, _STRING), "value": (2, _STRING)},  # a map is a list of entries on the wire
    "ContainerAllocateResponse": {"envs": (1, "*Entry")},
    "AllocateResponse": {"container_responses": (1, "*ContainerAllocateResponse")},
}
"""Message -> field -> (number, type); a text is the name of a message, with * a list of it (`*` alone: of strings)."""


def _file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(name="gameday/deviceplugin.proto", package=VERSION, syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            _add_field(message, field, number, kind)
    return file


def _add_field(message: descriptor_pb2.DescriptorProto, name: str, number: int, kind: int | str) -> None:
    added = message.field.add(name=name, number=number, label=_FIELD.LABEL_OPTIONAL)
    if isinstance(kind, int):
        added.type = kind  # type: ignore[assignment]  # the stubs want the enum, the table has its value
        return
    if kind.startswith("*"):
        added.label = _FIELD.LABEL_REPEATED
    named = kind.removeprefix("*")
    added.type = _FIELD.TYPE_MESSAGE if named else _STRING
    if named:
        added.type_name = f".{VERSION}.{named}"


_POOL = descriptor_pool.DescriptorPool()
_POOL.Add(_file())


def message(name: str) -> Any:
    """Return the class of a message."""
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"{VERSION}.{name}"))


METHODS = {
    "GetDevicePluginOptions": ("Empty", "DevicePluginOptions"),
    "ListAndWatch": ("Empty", "ListAndWatchResponse"),
    "Allocate": ("AllocateRequest", "AllocateResponse"),
    "PreStartContainer": ("Empty", "Empty"),
}
"""Method of DevicePlugin -> its request and its answer; only ListAndWatch answers in a stream."""


def plugin_service(behaviours: dict[str, Callable[..., Any]]) -> grpc.GenericRpcHandler:
    """Return the service DevicePlugin for a gRPC server.

    Args:
        behaviours: Coroutine (or, for ListAndWatch, async generator) of each method.
    """
    handlers = {}
    for method, (request, answer) in METHODS.items():
        streams = method == "ListAndWatch"
        make = grpc.unary_stream_rpc_method_handler if streams else grpc.unary_unary_rpc_method_handler
        handlers[method] = make(
            behaviours[method],
            request_deserializer=message(request).FromString,
            response_serializer=message(answer).SerializeToString,
        )
    return grpc.method_handlers_generic_handler(f"{VERSION}.DevicePlugin", handlers)


async def register(kubelet_socket: str, endpoint: str, resource: str, timeout_s: float) -> None:
    """Tell the kubelet that a plugin serves `resource` on the socket `endpoint` beside its own.

    Raises:
        grpc.aio.AioRpcError: The kubelet cannot be reached or refuses.
    """
    request = message("RegisterRequest")(version=VERSION, endpoint=endpoint, resource_name=resource)
    async with grpc.aio.insecure_channel(f"unix://{kubelet_socket}") as channel:
        call = channel.unary_unary(
            f"/{VERSION}.Registration/Register",
            request_serializer=message("RegisterRequest").SerializeToString,
            response_deserializer=message("Empty").FromString,
        )
        await call(request, timeout=timeout_s)
