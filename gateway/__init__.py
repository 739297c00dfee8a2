"""The edge: nodes that hold the WebSockets, submit what devices send and push what the pipeline
delivers."""
