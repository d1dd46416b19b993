FROM node:26-bookworm-slim
WORKDIR /opt/ironwright
COPY package.json package-lock.json ./
RUN npm ci --omit=dev --ignore-scripts
COPY . .
ENTRYPOINT ["/opt/ironwright/bin/ironwright"]
CMD ["serve"]
