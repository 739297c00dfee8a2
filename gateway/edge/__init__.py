"""What a device meets first: admission, HTTP, the WebSocket, and how a node sends its sessions
away."""
